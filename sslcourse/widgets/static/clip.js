// A film with its sound. While it plays the clock of the sound (AudioContext.currentTime, less what the sound
// card delays) says which frame is shown; a silent film, or a browser that refuses sound, goes by the clock
// of the page. Nothing is asked of Python.
// data-* on the root, for tests: frame, frames, playing, position (s), offset (s), sound ("none", "ready",
// "running", "refused"), rms (of what is heard now), drift (ms by which the picture was late at worst since
// play was pressed), muted, loop, speed, turns, loaded.

const VIEW = 288,
  SOUND_W = 500,
  WAVE_H = 96,
  MEL_H = 110,
  AHEAD = 0.03,
  EARLY = 0.25,
  PATIENCE_MS = 1500;

const LOOK = `
.ssl-clip .sounds { position: relative; cursor: pointer; touch-action: none; }
.ssl-clip .shift { display: grid; grid-template-columns: auto minmax(120px, 1fr) auto; gap: 4px 10px;
  align-items: center; margin-top: 6px; max-width: ${SOUND_W}px; }
.ssl-clip .shift input { margin: 0; width: 100%; min-width: 0; }
.ssl-clip .shift output { min-width: 150px; }
.ssl-clip .says { font-size: 12px; margin-top: 4px; min-height: 1.4em; }
.ssl-clip .says.refused { border-left: 4px solid #C4441C; padding: 2px 8px; }
.ssl-clip .bar label { display: inline-flex; align-items: center; gap: 5px; }
.ssl-clip .bar output { min-width: 150px; }
.ssl-clip .body { gap: 12px 18px; }
`;

function buildBar(view) {
  const { count, audible, root } = view;
  const bar = make("div", "bar", root);
  const play = make("button", "play", bar, { type: "button" });
  const slider = make("input", "time", bar, { type: "range", min: 0, max: count - 1, step: 1 });
  slider.setAttribute("aria-label", "frame");
  const label = make("output", "", bar);
  const box = (text, name) => {
    const holder = make("label", "", bar),
      input = make("input", "", holder, { type: "checkbox" });
    input.dataset.name = name;
    holder.append(text);
    return input;
  };
  const looping = box("loop", "loop"),
    muted = audible ? box("mute", "mute") : null;
  const speedBox = make("label", "", bar, { textContent: "speed" }),
    speed = make("select", "", speedBox);
  for (const [text, value] of [
    ["1", 1],
    ["1/2", 0.5],
    ["1/4", 0.25],
  ])
    make("option", "", speed, { textContent: text, value });
  Object.assign(view, { play, slider, label, looping, muted, speed });
}

function buildScreens(view) {
  const { height, width, events, audible, root } = view;
  const body = make("div", "body", root);
  const fit = VIEW / Math.max(height, width),
    scale = fit >= 1 ? Math.floor(fit) : fit;
  const [, ctx] = sheet(make("div", "", body), "film", width * scale, height * scale);
  const side = make("div", "", body),
    marked = Object.keys(events),
    legendH = marked.length ? 20 : 0;
  const soundH = legendH + (audible ? WAVE_H + MEL_H + 8 : 30) + 30;
  const [line, pen] = sheet(make("div", "sounds", side), "sounds", SOUND_W, soundH);
  line.setAttribute("role", "img");
  const what = audible ? "the sound as wave and as bands of pitch over time" : "time";
  line.setAttribute("aria-label", `${what}; marked: ${marked.join(", ") || "nothing"}`);
  Object.assign(view, { scale, ctx, side, marked, legendH, soundH, line, pen });
}

function buildShift(view) {
  const { audible, root, side } = view;
  Object.assign(view, { shift: null, shiftSays: null });
  if (audible) {
    const row = make("label", "shift", side);
    make("span", "", row, { textContent: "shift the sound" });
    view.shift = make("input", "", row, { type: "range", min: -1, max: 1, step: 0.01 });
    view.shift.dataset.name = "offset";
    view.shiftSays = make("output", "", row);
  }
  const says = make("div", "says", side);
  says.setAttribute("aria-live", "polite");
  const more = audible ? ", [ and ] shift the sound by a frame, m mutes" : "";
  const keys = `space plays, left and right step by a frame, Home and End jump, l loops${more}`;
  make("div", "note", root, { textContent: `Keys: ${keys}.` });
  Object.assign(view, { says });
}

// ---- the sound as a picture, drawn once
// An image of the bands, and the loudest values of each column of pixels

function drawBands(view) {
  const { bands, columns, heat, mel, audible } = view;
  const L = 34,
    R = SOUND_W - 10;
  const melPicture = document.createElement("canvas");
  if (audible) {
    melPicture.width = columns;
    melPicture.height = bands;
    const m = melPicture.getContext("2d"),
      pixels = m.createImageData(columns, bands);
    for (let b = 0; b < bands; b++)
      for (let c = 0; c < columns; c++) {
        const v = (mel[b * columns + c] / 255) * (heat.length - 1),
          i = Math.min(heat.length - 2, Math.floor(v)),
          at = 4 * ((bands - 1 - b) * columns + c);
        for (let k = 0; k < 3; k++)
          pixels.data[at + k] = heat[i][k] + (heat[i + 1][k] - heat[i][k]) * (v - i);
        pixels.data[at + 3] = 255;
      }
    m.putImageData(pixels, 0, 0);
  }
  Object.assign(view, { L, R, melPicture });
}

const X = ({ seconds, L, R }, t) => L + (t / seconds) * (R - L);

function measureWave(view) {
  const { rate, seconds, wave, audible, L, R } = view;
  const top = wave.reduce((a, v) => Math.max(a, Math.abs(v)), 1);
  const edges = [];
  if (audible)
    for (let p = 0; p < R - L; p++) {
      const a = Math.floor((p / (R - L)) * seconds * rate),
        b = Math.max(a + 1, Math.floor(((p + 1) / (R - L)) * seconds * rate));
      let low = 0,
        high = 0;
      for (let i = a; i < Math.min(b, wave.length); i++) {
        low = Math.min(low, wave[i]);
        high = Math.max(high, wave[i]);
      }
      edges.push([low / top, high / top]);
    }
  Object.assign(view, { edges });
}

// ---- state
// `segments` say what part of the film belongs to which time of the clock; `voices` are the sounds that were
// scheduled.

function initialState(view) {
  const { model, seconds } = view;
  Object.assign(view, {
    position: Math.min(seconds, Math.max(0, model.get("position"))),
    offset: model.get("offset"),
    playing: false,
    wish: 0,
    shown: -1,
    drift: 0,
    turns: 0,
  });
  Object.assign(view, {
    context: null,
    gain: null,
    analyser: null,
    buffer: null,
    refused: "",
    segments: [],
    voices: [],
    tick: null,
    bitmap: null,
    closed: false,
    asleep: false,
  });
  view.samples = new Float32Array(2048);
  view.still = null; // all but the cursor, which alone moves while the film plays
}

const frameAt = ({ count, fps }, p) => Math.min(count - 1, Math.max(0, Math.floor(p * fps + 1e-9)));

const sounding = (view) => view.context !== null && !view.refused;

const clock = (view) => (sounding(view) ? view.context.currentTime : performance.now() / 1000);

// What is heard now was handed to the sound card `lag` ago: the picture waits for it. Wireless headphones say
// 0.2 s and more.
const lag = (view) => (sounding(view) ? Math.min(0.5, view.context.outputLatency || 0) : 0);

function at(view, time) {
  const { seconds } = view;
  // where the film is at a time of the clock
  let s = view.segments[0];
  for (const other of view.segments) if (other.begin <= time) s = other;
  return Math.min(seconds, s.from + Math.max(0, time - s.begin) * s.speed);
}

const finish = ({ seconds }, s) => s.begin + (seconds - s.from) / s.speed;

function save(view, name, value) {
  const { model } = view;
  model.set(name, value);
  model.save_changes();
}

// ---- sound

function speak(view, s, time) {
  const { rate, seconds, wave } = view;
  // the sound of segment s from a time of the clock on, until the film ends
  if (!sounding(view) || s.speed <= 0) return;
  const from = s.from + (time - s.begin) * s.speed,
    sample = from - view.offset; // seconds into the film, and into the sound
  const wait = Math.max(0, -sample),
    start = Math.max(0, sample),
    length = Math.min(wave.length / rate - start, seconds - from - wait);
  if (length <= 0) return;
  const source = view.context.createBufferSource();
  source.buffer = view.buffer;
  source.playbackRate.value = s.speed;
  source.connect(view.gain);
  source.start(time + wait / s.speed, start, length);
  const voice = { source, segment: s };
  source.onended = () => {
    view.voices = view.voices.filter((v) => v !== voice);
    source.disconnect();
  };
  view.voices.push(voice);
}

function hush(view, time = 0) {
  for (const v of view.voices) v.source.stop(time);
  view.voices = [];
}

async function wake(view) {
  const { rate, wave, audible, samples } = view;
  // only after a press of a button or key: browsers let no page sound by itself
  if (!audible || view.refused) return;
  try {
    if (!view.context) {
      const Kind = window.AudioContext || window.webkitAudioContext;
      if (!Kind) throw new Error("it has no Web Audio");
      view.context = new Kind();
      view.buffer = view.context.createBuffer(1, wave.length, rate);
      view.buffer.copyToChannel(
        Float32Array.from(wave, (v) => v / 32768),
        0,
      );
      view.gain = view.context.createGain();
      view.analyser = view.context.createAnalyser();
      view.analyser.fftSize = samples.length;
      view.gain.connect(view.analyser);
      view.analyser.connect(view.context.destination);
      hushed(view);
    }
    let patience = null;
    await Promise.race([
      view.context.resume(),
      new Promise((done) => {
        patience = setTimeout(done, PATIENCE_MS);
      }),
    ]);
    clearTimeout(patience);
    if (view.context && view.context.state !== "running")
      throw new Error(`its sound stays ${view.context.state}`);
  } catch (error) {
    view.refused = `This browser plays no sound (${error.message}); the picture goes on alone.`;
    view.context?.close();
    view.context = null;
  }
}

function hushed(view) {
  const { muted } = view;
  if (view.gain) view.gain.gain.value = muted.checked ? 0 : 1;
}

// ---- playing

function begin(view, from) {
  const { speed } = view;
  const time = clock(view) + (sounding(view) ? AHEAD : 0);
  hush(view);
  view.segments = [{ begin: time, from, speed: +speed.value }];
  speak(view, view.segments[0], time);
}

async function start(view) {
  const { fps, seconds, root } = view;
  const mine = ++view.wish;
  document.dispatchEvent(new CustomEvent("ssl-clip-plays", { detail: root })); // one film at a time
  await wake(view);
  if (view.closed || mine !== view.wish) return; // paused, or taken away, while the sound woke up
  view.playing = true;
  view.drift = 0;
  view.asleep = false;
  begin(view, view.position >= seconds - 0.5 / fps ? 0 : view.position);
  view.position = at(view, clock(view) - lag(view));
  draw(view);
  view.tick = requestAnimationFrame(() => run(view));
}

function pause(view, tell = true) {
  const { root } = view;
  view.wish++;
  if (!view.playing) return;
  view.position = at(view, clock(view) - lag(view));
  view.playing = false;
  cancelAnimationFrame(view.tick);
  hush(view);
  view.context?.suspend();
  root.dataset.rms = 0;
  show(view, view.position);
  if (tell) save(view, "position", view.position);
}

function run(view) {
  const { fps, seconds, root, looping, samples } = view;
  const now = clock(view),
    last = view.segments[view.segments.length - 1],
    heard = now - lag(view);
  if (looping.checked && now > finish(view, last) - EARLY) {
    // the next turn is scheduled before this one ends: no gap in the sound
    const next = { begin: finish(view, last), from: 0, speed: last.speed };
    view.segments.push(next);
    speak(view, next, next.begin);
  }
  while (view.segments.length > 1 && heard >= view.segments[1].begin) {
    if (view.segments[1].from === 0) view.turns++;
    view.segments.shift();
  }
  view.position = at(view, heard);
  // How long has the frame on the screen been the wrong one? The sound went on meanwhile.
  if (!view.asleep && view.shown >= 0 && frameAt(view, view.position) !== view.shown) {
    const due = frameAt(view, view.position) > view.shown ? (view.shown + 1) / fps : view.segments[0].from;
    view.drift = Math.max(view.drift, (1000 * (view.position - due)) / view.segments[0].speed);
  }
  view.asleep = false;
  if (heard >= finish(view, view.segments[view.segments.length - 1])) {
    view.position = seconds;
    pause(view);
    return;
  }
  if (view.analyser && sounding(view)) {
    view.analyser.getFloatTimeDomainData(samples);
    root.dataset.rms = Math.sqrt(samples.reduce((a, v) => a + v * v, 0) / samples.length).toFixed(5);
  }
  show(view, view.position);
  view.tick = requestAnimationFrame(() => run(view));
}

function seek(view, p, tell = true) {
  const { seconds } = view;
  view.position = Math.max(0, Math.min(seconds, p));
  if (view.playing) {
    view.shown = -1;
    begin(view, view.position);
  }
  show(view, view.position);
  if (tell) save(view, "position", view.position);
}

const toFrame = (view, f) => seek(view, Math.max(0, Math.min(view.count - 1, f)) / view.fps);

function toggle(view) {
  if (view.playing) pause(view);
  else start(view);
}

function move(view, value, tell = true) {
  // the sound against the picture
  view.offset = Math.max(-1, Math.min(1, Math.round(value * 1000) / 1000));
  if (view.playing && sounding(view)) {
    const time = clock(view) + AHEAD;
    hush(view, time);
    for (const s of view.segments) speak(view, s, Math.max(time, s.begin));
  }
  draw(view);
  if (tell) save(view, "offset", view.offset);
}

// ---- drawing

function show(view, p) {
  const {
    about,
    count,
    height,
    width,
    seconds,
    audible,
    root,
    play,
    slider,
    label,
    looping,
    muted,
    speed,
    scale,
    ctx,
  } = view;
  const f = frameAt(view, p);
  if (f !== view.shown && view.bitmap) {
    ctx.imageSmoothingEnabled = false;
    drawFrame(ctx, view.bitmap, about.sheet, f, width, height, width * scale, height * scale);
  }
  view.shown = f;
  slider.value = f;
  label.textContent = `${p.toFixed(2)} of ${seconds.toFixed(2)} s, frame ${f + 1}`;
  play.textContent = view.playing ? "\u23F8 pause" : "\u25B6 play";
  drawSound(view, p);
  Object.assign(root.dataset, {
    frame: f,
    frames: count,
    playing: view.playing ? 1 : 0,
    position: p.toFixed(4),
    offset: view.offset,
    drift: view.drift.toFixed(1),
    turns: view.turns,
    muted: muted?.checked ? 1 : 0,
    loop: looping.checked ? 1 : 0,
    speed: speed.value,
    sound: !audible ? "none" : view.refused ? "refused" : view.context ? view.context.state : "ready",
  });
}

// The sound in the time of the picture: shifted sound is drawn where it is heard, the events stay where
// they are seen.
function drawStill(view) {
  const { audible, root, ink, legendH, soundH, line, L, R } = view;
  view.still = view.still || document.createElement("canvas");
  view.still.width = line.width;
  view.still.height = line.height;
  const c = view.still.getContext("2d");
  const colour = ink();
  c.scale(dense, dense);
  c.font = `11px ${getComputedStyle(root).fontFamily || "sans-serif"}`;
  c.textBaseline = "middle";
  const waveT = legendH;
  const waveB = waveT + (audible ? WAVE_H : 30);
  const melT = waveB + 8;
  const rows = { waveT, waveB, melT, bottom: audible ? melT + MEL_H : waveB };
  c.save();
  c.beginPath();
  c.rect(L, 0, R - L, soundH);
  c.clip();
  if (audible) drawWave(view, c, colour, rows);
  c.restore();
  drawAxes(view, c, colour, rows);
  drawEvents(view, c, colour, rows);
}

// The loudest values of each column of pixels, and below them the bands.
function drawWave(view, c, colour, { waveT, waveB, melT }) {
  const { seconds, columns, hop, heat, colours, L, R, melPicture, edges } = view;
  const middle = (waveT + waveB) / 2;
  const reach = WAVE_H / 2 - 3;
  const by = (view.offset / seconds) * (R - L);
  c.fillStyle = bright(colours[0], colour);
  for (const [p, [low, high]] of edges.entries())
    c.fillRect(L + p + by, middle - high * reach, 1, Math.max(1, (high - low) * reach));
  c.fillStyle = `rgb(${heat[0]})`;
  c.fillRect(L, melT, R - L, MEL_H);
  c.imageSmoothingEnabled = true;
  const width = ((columns * hop) / seconds) * (R - L);
  c.drawImage(melPicture, X(view, -hop / 2 + view.offset), melT, width, MEL_H);
}

function drawAxes(view, c, colour, { waveT, waveB, melT, bottom }) {
  const { seconds, audible, L, R } = view;
  c.strokeStyle = faded(colour, 0.5);
  c.strokeRect(L + 0.5, waveT + 0.5, R - L - 1, waveB - waveT - 1);
  c.fillStyle = colour;
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((s) => seconds / s <= 8) || 20;
  c.textAlign = "center";
  for (let t = 0; t <= seconds + 1e-6; t += step) {
    c.fillText(String(+t.toFixed(2)), X(view, t), bottom + 10);
    c.fillRect(X(view, t) - 0.5, bottom, 1, 4);
  }
  c.fillText("seconds", (L + R) / 2, bottom + 23);
  if (!audible) return;
  for (const [text, y] of [
    ["wave", (waveT + waveB) / 2],
    ["pitch (mel)", melT + MEL_H / 2],
  ]) {
    c.save();
    c.translate(L - 12, y);
    c.rotate(-Math.PI / 2);
    c.fillText(text, 0, 0);
    c.restore();
  }
}

function drawEvents(view, c, colour, { waveT, waveB, melT, bottom }) {
  const { events, colours, audible, marked, L } = view;
  const upright = (t, from, to) => {
    c.beginPath();
    c.moveTo(X(view, t), from);
    c.lineTo(X(view, t), to);
    c.stroke();
  };
  let x = L;
  for (const [i, name] of marked.entries()) {
    const hue = colours[(4 + i) % 10];
    for (const t of events[name]) {
      c.setLineDash([5, 3]);
      c.strokeStyle = bright(hue, colour);
      c.lineWidth = 1.6;
      upright(t, waveT, waveB);
      c.strokeStyle = "#fff";
      c.lineWidth = 1.2; // the ground of the bands is dark in every theme
      if (audible) upright(t, melT, bottom);
      c.setLineDash([]);
      c.fillStyle = bright(hue, colour);
      mark(c, MARKS[(4 + i) % 10], X(view, t), waveT + 4, 4);
    }
    c.fillStyle = bright(hue, colour);
    mark(c, MARKS[(4 + i) % 10], x + 5, 8, 4.5);
    c.fillStyle = colour;
    c.textAlign = "left";
    c.fillText(`${name}, as seen`, x + 14, 9);
    x += 30 + c.measureText(`${name}, as seen`).width;
  }
}

function drawSound(view, p) {
  const { legendH, soundH, line, pen } = view;
  pen.save();
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, line.width, line.height);
  if (view.still) pen.drawImage(view.still, 0, 0);
  pen.restore();
  const b = soundH - 30,
    x = X(view, p);
  for (const [colour, w] of [
    ["#000", 3.5],
    ["#fff", 1.5],
  ]) {
    pen.strokeStyle = colour;
    pen.lineWidth = w;
    pen.beginPath();
    pen.moveTo(x, legendH);
    pen.lineTo(x, b);
    pen.stroke();
  }
}

function draw(view) {
  const { audible, speed, says } = view;
  if (view.shift) {
    view.shift.value = view.offset;
    view.shiftSays.textContent =
      view.offset === 0
        ? "in step"
        : `${Math.abs(view.offset).toFixed(2)} s too ${view.offset > 0 ? "late" : "early"}`;
  }
  const slow = +speed.value;
  says.classList.toggle("refused", !!view.refused);
  says.textContent =
    view.refused ||
    (audible && slow < 1
      ? `At this speed the sound is ${slow === 0.5 ? "one octave" : "two octaves"} lower.`
      : "");
  drawStill(view);
  show(view, view.position);
}

// ---- what the reader does

function listenToControls(view) {
  const { listen, play, slider, looping, muted, speed } = view;
  listen(play, "click", () => toggle(view));
  listen(slider, "input", () => toFrame(view, +slider.value));
  listen(looping, "change", () => {
    // a turn that was already scheduled is taken back
    if (view.playing && !looping.checked && view.segments.length > 1) {
      const dropped = view.segments.splice(1);
      for (const v of view.voices.filter((v) => dropped.includes(v.segment))) v.source.stop();
      view.voices = view.voices.filter((v) => !dropped.includes(v.segment));
    }
    show(view, view.position);
  });
  if (muted)
    listen(muted, "change", () => {
      hushed(view);
      show(view, view.position);
    });
  listen(speed, "change", () => {
    if (view.playing) {
      view.position = at(view, clock(view) - lag(view));
      begin(view, view.position);
    }
    draw(view);
  });
  if (view.shift) listen(view.shift, "input", () => move(view, +view.shift.value));
}

function listenToSounds(view) {
  const { seconds, listen, line, L, R } = view;
  let dragging = false;
  const toPointer = (e) => seek(view, ((pointer(e, line)[0] - L) / (R - L)) * seconds, false);
  listen(line, "pointerdown", (e) => {
    if (!e.button) {
      dragging = true;
      line.setPointerCapture(e.pointerId);
      toPointer(e);
    }
  });
  listen(line, "pointermove", (e) => {
    if (dragging) toPointer(e);
  });
  const drop = () => {
    if (dragging) {
      dragging = false;
      save(view, "position", view.position);
    }
  };
  listen(line, "pointerup", drop);
  listen(line, "pointercancel", drop);
}

// What a key does to the film; undefined for a key that is not ours.
function actionOf(view, key) {
  const { count, fps, audible, looping, muted } = view;
  const click = (input) => {
    input.checked = !input.checked;
    input.dispatchEvent(new Event("change"));
  };
  const jump = (f) => {
    pause(view, false);
    toFrame(view, f);
  };
  const actions = {
    " ": () => toggle(view),
    ArrowLeft: () => jump(frameAt(view, view.position) - 1),
    ArrowRight: () => jump(frameAt(view, view.position) + 1),
    Home: () => jump(0),
    End: () => jump(count - 1),
    l: () => click(looping),
    m: muted ? () => click(muted) : undefined,
    "[": audible ? () => move(view, view.offset - 1 / fps) : undefined,
    "]": audible ? () => move(view, view.offset + 1 / fps) : undefined,
  };
  return Object.hasOwn(actions, key) ? actions[key] : undefined;
}

// The keys of sliders, choices and buttons.
const CONTROL_KEYS = /^(Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown| |Enter)$/;

function listenToKeys(view) {
  const { root, listen } = view;
  listen(root, "keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.key === "Tab") return;
    if (e.target.matches("input, select, button") && CONTROL_KEYS.test(e.key)) {
      e.stopPropagation(); // the control's own key
      return;
    }
    const act = actionOf(view, e.key);
    if (!act) return;
    act();
    e.preventDefault();
    e.stopPropagation();
  });
}

function followOthers(view) {
  const { model, root, listen } = view;
  listen(document, "ssl-clip-plays", (e) => {
    if (e.detail !== root) pause(view);
  });
  listen(document, "visibilitychange", () => {
    view.asleep = true;
  }); // a hidden page draws nothing: that is no drift
  view.follow("offset", () => {
    if (model.get("offset") !== view.offset) move(view, model.get("offset"), false);
  });
  view.follow("position", () => {
    if (model.get("position") !== view.position) {
      pause(view, false);
      seek(view, model.get("position"), false);
    }
  });
  view.later(() => {
    view.closed = true;
    view.wish++;
    cancelAnimationFrame(view.tick);
    hush(view);
    view.context?.close();
    view.bitmap?.close();
  });
}

function render({ model, el }) {
  const about = model.get("about"),
    { count, height, width, fps, rate, seconds, bands, columns, hop, events, heat, colours } = about;
  const wave = new Int16Array(bytes(model.get("sound")).buffer),
    mel = bytes(model.get("mel")),
    audible = wave.length > 0;
  const view = open({ model, el }, "ssl-clip", audible ? "Film with sound" : "Film", LOOK),
    { root } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
  Object.assign(view, {
    model,
    about,
    count,
    height,
    width,
    fps,
    rate,
    seconds,
    bands,
    columns,
    hop,
    events,
    heat,
    colours,
    wave,
    mel,
    audible,
  });
  buildBar(view);
  buildScreens(view);
  buildShift(view);
  drawBands(view);
  measureWave(view);
  initialState(view);
  listenToControls(view);
  listenToSounds(view);
  listenToKeys(view);
  followOthers(view);
  view.themed(() => draw(view));
  picture(model.get("sheet"), about.sheet.type).then((made) => {
    if (view.closed) made.close();
    else {
      view.bitmap = made;
      view.shown = -1;
      root.dataset.loaded = 1;
      draw(view);
    }
  });
  return view.close;
}

export default { render };
