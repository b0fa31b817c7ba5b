// A film with its sound. While it plays the clock of the sound (AudioContext.currentTime, less what the sound card delays) says which
// frame is shown; a silent film, or a browser that refuses sound, goes by the clock of the page. Nothing is asked of Python.
// data-* on the root, for tests: frame, frames, playing, position (s), offset (s), sound ("none", "ready", "running", "refused"), rms
// (of what is heard now), drift (ms by which the picture was late at worst since play was pressed), muted, loop, speed, turns, loaded.

const VIEW = 288,
  SOUND_W = 500,
  WAVE_H = 96,
  MEL_H = 110,
  AHEAD = 0.03,
  EARLY = 0.25,
  PATIENCE_MS = 1500;

const LOOK = `
.ssl-clip .sounds { position: relative; cursor: pointer; touch-action: none; }
.ssl-clip .shift { display: grid; grid-template-columns: auto minmax(120px, 1fr) auto; gap: 4px 10px; align-items: center; margin-top: 6px; max-width: ${SOUND_W}px; }
.ssl-clip .shift input { margin: 0; width: 100%; min-width: 0; }
.ssl-clip .shift output { min-width: 150px; }
.ssl-clip .says { font-size: 12px; margin-top: 4px; min-height: 1.4em; }
.ssl-clip .says.refused { border-left: 4px solid #C4441C; padding: 2px 8px; }
.ssl-clip .bar label { display: inline-flex; align-items: center; gap: 5px; }
.ssl-clip .bar output { min-width: 150px; }
.ssl-clip .body { gap: 12px 18px; }
`;

function render({ model, el }) {
  const about = model.get("about"),
    { count, height, width, fps, rate, seconds, bands, columns, hop, events, heat, colours } = about;
  const wave = new Int16Array(bytes(model.get("sound")).buffer),
    mel = bytes(model.get("mel")),
    audible = wave.length > 0;
  const view = open({ model, el }, "ssl-clip", audible ? "Film with sound" : "Film", LOOK),
    { root, ink, listen } = view;
  if (about.title) make("div", "title", root, { textContent: about.title });
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
  line.setAttribute(
    "aria-label",
    `${audible ? "the sound as wave and as bands of pitch over time" : "time"}; marked: ${marked.join(", ") || "nothing"}`,
  );
  let shift = null,
    shiftSays = null;
  if (audible) {
    const row = make("label", "shift", side);
    make("span", "", row, { textContent: "shift the sound" });
    shift = make("input", "", row, { type: "range", min: -1, max: 1, step: 0.01 });
    shift.dataset.name = "offset";
    shiftSays = make("output", "", row);
  }
  const says = make("div", "says", side);
  says.setAttribute("aria-live", "polite");
  make("div", "note", root, {
    textContent: `Keys: space plays, left and right step by a frame, Home and End jump, l loops${audible ? ", [ and ] shift the sound by a frame, m mutes" : ""}.`,
  });

  // ---- the sound as a picture, drawn once: an image of the bands, and the loudest values of each column of pixels
  const L = 34,
    R = SOUND_W - 10,
    X = (t) => L + (t / seconds) * (R - L);
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

  // ---- state. `segments` say what part of the film belongs to which time of the clock; `voices` are the sounds that were scheduled.
  let position = Math.min(seconds, Math.max(0, model.get("position"))),
    offset = model.get("offset"),
    playing = false,
    wish = 0,
    shown = -1,
    drift = 0,
    turns = 0;
  let context = null,
    gain = null,
    analyser = null,
    buffer = null,
    refused = "",
    segments = [],
    voices = [],
    tick = null,
    bitmap = null,
    closed = false,
    asleep = false;
  const samples = new Float32Array(2048);
  const frameAt = (p) => Math.min(count - 1, Math.max(0, Math.floor(p * fps + 1e-9)));
  const sounding = () => context !== null && !refused;
  const clock = () => (sounding() ? context.currentTime : performance.now() / 1000);
  // What is heard now was handed to the sound card `lag` ago: the picture waits for it. Wireless headphones say 0.2 s and more.
  const lag = () => (sounding() ? Math.min(0.5, context.outputLatency || 0) : 0);
  const at = (time) => {
    // where the film is at a time of the clock
    let s = segments[0];
    for (const other of segments) if (other.begin <= time) s = other;
    return Math.min(seconds, s.from + Math.max(0, time - s.begin) * s.speed);
  };
  const finish = (s) => s.begin + (seconds - s.from) / s.speed;
  const save = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  // ---- sound
  const speak = (s, time) => {
    // the sound of segment s from a time of the clock on, until the film ends
    if (!sounding() || s.speed <= 0) return;
    const from = s.from + (time - s.begin) * s.speed,
      sample = from - offset; // seconds into the film, and into the sound
    const wait = Math.max(0, -sample),
      start = Math.max(0, sample),
      length = Math.min(wave.length / rate - start, seconds - from - wait);
    if (length <= 0) return;
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.playbackRate.value = s.speed;
    source.connect(gain);
    source.start(time + wait / s.speed, start, length);
    const voice = { source, segment: s };
    source.onended = () => {
      voices = voices.filter((v) => v !== voice);
      source.disconnect();
    };
    voices.push(voice);
  };
  const hush = (time = 0) => {
    for (const v of voices) v.source.stop(time);
    voices = [];
  };
  const wake = async () => {
    // only after a press of a button or key: browsers let no page sound by itself
    if (!audible || refused) return;
    try {
      if (!context) {
        const Kind = window.AudioContext || window.webkitAudioContext;
        if (!Kind) throw new Error("it has no Web Audio");
        context = new Kind();
        buffer = context.createBuffer(1, wave.length, rate);
        buffer.copyToChannel(
          Float32Array.from(wave, (v) => v / 32768),
          0,
        );
        gain = context.createGain();
        analyser = context.createAnalyser();
        analyser.fftSize = samples.length;
        gain.connect(analyser);
        analyser.connect(context.destination);
        hushed();
      }
      let patience = null;
      await Promise.race([
        context.resume(),
        new Promise((done) => {
          patience = setTimeout(done, PATIENCE_MS);
        }),
      ]);
      clearTimeout(patience);
      if (context && context.state !== "running") throw new Error(`its sound stays ${context.state}`);
    } catch (error) {
      refused = `This browser plays no sound (${error.message}); the picture goes on alone.`;
      context?.close();
      context = null;
    }
  };
  const hushed = () => {
    if (gain) gain.gain.value = muted.checked ? 0 : 1;
  };

  // ---- playing
  const begin = (from) => {
    const time = clock() + (sounding() ? AHEAD : 0);
    hush();
    segments = [{ begin: time, from, speed: +speed.value }];
    speak(segments[0], time);
  };
  const start = async () => {
    const mine = ++wish;
    document.dispatchEvent(new CustomEvent("ssl-clip-plays", { detail: root })); // one film at a time
    await wake();
    if (closed || mine !== wish) return; // paused, or taken away, while the sound woke up
    playing = true;
    drift = 0;
    asleep = false;
    begin(position >= seconds - 0.5 / fps ? 0 : position);
    position = at(clock() - lag());
    draw();
    tick = requestAnimationFrame(run);
  };
  const pause = (tell = true) => {
    wish++;
    if (!playing) return;
    position = at(clock() - lag());
    playing = false;
    cancelAnimationFrame(tick);
    hush();
    context?.suspend();
    root.dataset.rms = 0;
    show(position);
    if (tell) save("position", position);
  };
  const run = () => {
    const now = clock(),
      last = segments[segments.length - 1],
      heard = now - lag();
    if (looping.checked && now > finish(last) - EARLY) {
      // the next turn is scheduled before this one ends: no gap in the sound
      const next = { begin: finish(last), from: 0, speed: last.speed };
      segments.push(next);
      speak(next, next.begin);
    }
    while (segments.length > 1 && heard >= segments[1].begin) {
      if (segments[1].from === 0) turns++;
      segments.shift();
    }
    position = at(heard);
    // How long has the frame on the screen been the wrong one? The sound went on meanwhile.
    if (!asleep && shown >= 0 && frameAt(position) !== shown) {
      const due = frameAt(position) > shown ? (shown + 1) / fps : segments[0].from;
      drift = Math.max(drift, (1000 * (position - due)) / segments[0].speed);
    }
    asleep = false;
    if (heard >= finish(segments[segments.length - 1])) {
      position = seconds;
      pause();
      return;
    }
    if (analyser && sounding()) {
      analyser.getFloatTimeDomainData(samples);
      root.dataset.rms = Math.sqrt(samples.reduce((a, v) => a + v * v, 0) / samples.length).toFixed(5);
    }
    show(position);
    tick = requestAnimationFrame(run);
  };
  const seek = (p, tell = true) => {
    position = Math.max(0, Math.min(seconds, p));
    if (playing) {
      shown = -1;
      begin(position);
    }
    show(position);
    if (tell) save("position", position);
  };
  const toFrame = (f) => seek(Math.max(0, Math.min(count - 1, f)) / fps);
  const toggle = () => {
    if (playing) pause();
    else start();
  };
  const move = (value, tell = true) => {
    // the sound against the picture
    offset = Math.max(-1, Math.min(1, Math.round(value * 1000) / 1000));
    if (playing && sounding()) {
      const time = clock() + AHEAD;
      hush(time);
      for (const s of segments) speak(s, Math.max(time, s.begin));
    }
    draw();
    if (tell) save("offset", offset);
  };

  // ---- drawing
  const show = (p) => {
    const f = frameAt(p);
    if (f !== shown && bitmap) {
      const { across, wide, high } = about.sheet;
      ctx.imageSmoothingEnabled = false;
      ctx.drawImage(
        bitmap,
        (f % across) * wide,
        Math.floor(f / across) * high,
        width,
        height,
        0,
        0,
        width * scale,
        height * scale,
      );
    }
    shown = f;
    slider.value = f;
    label.textContent = `${p.toFixed(2)} of ${seconds.toFixed(2)} s, frame ${f + 1}`;
    play.textContent = playing ? "\u23F8 pause" : "\u25B6 play";
    drawSound(p);
    Object.assign(root.dataset, {
      frame: f,
      frames: count,
      playing: playing ? 1 : 0,
      position: p.toFixed(4),
      offset,
      drift: drift.toFixed(1),
      turns,
      muted: muted?.checked ? 1 : 0,
      loop: looping.checked ? 1 : 0,
      speed: speed.value,
      sound: !audible ? "none" : refused ? "refused" : context ? context.state : "ready",
    });
  };
  // The sound in the time of the picture: shifted sound is drawn where it is heard, the events stay where they are seen.
  let still = null; // all but the cursor, which alone moves while the film plays
  const drawStill = () => {
    still = still || document.createElement("canvas");
    still.width = line.width;
    still.height = line.height;
    const c = still.getContext("2d"),
      colour = ink();
    c.scale(dense, dense);
    c.font = "11px " + (getComputedStyle(root).fontFamily || "sans-serif");
    c.textBaseline = "middle";
    const waveT = legendH,
      waveB = waveT + (audible ? WAVE_H : 30),
      melT = waveB + 8,
      bottom = audible ? melT + MEL_H : waveB;
    c.save();
    c.beginPath();
    c.rect(L, 0, R - L, soundH);
    c.clip();
    if (audible) {
      const middle = (waveT + waveB) / 2,
        reach = WAVE_H / 2 - 3,
        by = (offset / seconds) * (R - L);
      c.fillStyle = bright(colours[0], colour);
      edges.forEach(([low, high], p) =>
        c.fillRect(L + p + by, middle - high * reach, 1, Math.max(1, (high - low) * reach)),
      );
      c.fillStyle = `rgb(${heat[0]})`;
      c.fillRect(L, melT, R - L, MEL_H);
      c.imageSmoothingEnabled = true;
      c.drawImage(melPicture, X(-hop / 2 + offset), melT, ((columns * hop) / seconds) * (R - L), MEL_H);
    }
    c.restore();
    c.strokeStyle = faded(colour, 0.5);
    c.strokeRect(L + 0.5, waveT + 0.5, R - L - 1, waveB - waveT - 1);
    c.fillStyle = colour;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10].find((s) => seconds / s <= 8) || 20;
    c.textAlign = "center";
    for (let t = 0; t <= seconds + 1e-6; t += step) {
      c.fillText(String(+t.toFixed(2)), X(t), bottom + 10);
      c.fillRect(X(t) - 0.5, bottom, 1, 4);
    }
    c.fillText("seconds", (L + R) / 2, bottom + 23);
    if (audible) {
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
    let x = L;
    marked.forEach((name, i) => {
      const hue = colours[(4 + i) % 10];
      for (const t of events[name]) {
        c.setLineDash([5, 3]);
        c.strokeStyle = bright(hue, colour);
        c.lineWidth = 1.6;
        c.beginPath();
        c.moveTo(X(t), waveT);
        c.lineTo(X(t), waveB);
        c.stroke();
        c.strokeStyle = "#fff";
        c.lineWidth = 1.2; // the ground of the bands is dark in every theme
        if (audible) {
          c.beginPath();
          c.moveTo(X(t), melT);
          c.lineTo(X(t), bottom);
          c.stroke();
        }
        c.setLineDash([]);
        c.fillStyle = bright(hue, colour);
        mark(c, MARKS[(4 + i) % 10], X(t), waveT + 4, 4);
      }
      c.fillStyle = bright(hue, colour);
      mark(c, MARKS[(4 + i) % 10], x + 5, 8, 4.5);
      c.fillStyle = colour;
      c.textAlign = "left";
      c.fillText(`${name}, as seen`, x + 14, 9);
      x += 30 + c.measureText(`${name}, as seen`).width;
    });
  };
  const drawSound = (p) => {
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, line.width, line.height);
    if (still) pen.drawImage(still, 0, 0);
    pen.restore();
    const b = soundH - 30,
      x = X(p);
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
  };
  const draw = () => {
    if (shift) {
      shift.value = offset;
      shiftSays.textContent =
        offset === 0 ? "in step" : `${Math.abs(offset).toFixed(2)} s too ${offset > 0 ? "late" : "early"}`;
    }
    const slow = +speed.value;
    says.classList.toggle("refused", !!refused);
    says.textContent =
      refused ||
      (audible && slow < 1
        ? `At this speed the sound is ${slow === 0.5 ? "one octave" : "two octaves"} lower.`
        : "");
    drawStill();
    show(position);
  };

  // ---- what the reader does
  listen(play, "click", toggle);
  listen(slider, "input", () => toFrame(+slider.value));
  listen(looping, "change", () => {
    // a turn that was already scheduled is taken back
    if (playing && !looping.checked && segments.length > 1) {
      const dropped = segments.splice(1);
      for (const v of voices.filter((v) => dropped.includes(v.segment))) v.source.stop();
      voices = voices.filter((v) => !dropped.includes(v.segment));
    }
    show(position);
  });
  if (muted)
    listen(muted, "change", () => {
      hushed();
      show(position);
    });
  listen(speed, "change", () => {
    if (playing) {
      position = at(clock() - lag());
      begin(position);
    }
    draw();
  });
  if (shift) listen(shift, "input", () => move(+shift.value));
  let dragging = false;
  const toPointer = (e) => seek(((pointer(e, line)[0] - L) / (R - L)) * seconds, false);
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
      save("position", position);
    }
  };
  listen(line, "pointerup", drop);
  listen(line, "pointercancel", drop);
  const click = (input) => {
    input.checked = !input.checked;
    input.dispatchEvent(new Event("change"));
  };
  listen(root, "keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.key === "Tab") return;
    const own = e.target.matches("input, select, button"),
      along = [
        "ArrowLeft",
        "ArrowRight",
        "ArrowUp",
        "ArrowDown",
        "Home",
        "End",
        "PageUp",
        "PageDown",
        " ",
        "Enter",
      ];
    if (own && along.includes(e.key)) {
      e.stopPropagation();
      return;
    } // the control's own key
    const f = frameAt(position);
    if (e.key === " ") toggle();
    else if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
      pause(false);
      toFrame(f + (e.key === "ArrowRight" ? 1 : -1));
    } else if (e.key === "Home" || e.key === "End") {
      pause(false);
      toFrame(e.key === "Home" ? 0 : count - 1);
    } else if (e.key === "l") click(looping);
    else if (e.key === "m" && muted) click(muted);
    else if ((e.key === "[" || e.key === "]") && audible) move(offset + (e.key === "]" ? 1 : -1) / fps);
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  listen(document, "ssl-clip-plays", (e) => {
    if (e.detail !== root) pause();
  });
  listen(document, "visibilitychange", () => {
    asleep = true;
  }); // a hidden page draws nothing: that is no drift
  view.follow("offset", () => {
    if (model.get("offset") !== offset) move(model.get("offset"), false);
  });
  view.follow("position", () => {
    if (model.get("position") !== position) {
      pause(false);
      seek(model.get("position"), false);
    }
  });
  view.later(() => {
    closed = true;
    wish++;
    cancelAnimationFrame(tick);
    hush();
    context?.close();
    bitmap?.close();
  });
  view.themed(draw);
  picture(model.get("sheet"), about.sheet.type).then((made) => {
    if (closed) made.close();
    else {
      bitmap = made;
      shown = -1;
      root.dataset.loaded = 1;
      draw();
    }
  });
  return view.close;
}

export default { render };
