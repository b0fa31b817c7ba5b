// Our views on a page without a kernel: an anywidget model that remembers, and nobody to send to.
// `model.alone` tells a view so. The page carries the scripts once each (script[data-script]) and every
// view's state (script[data-state]).

(async () => {
  const texts = Object.fromEntries(
    [...document.querySelectorAll("script[data-script]")].map((s) => [
      s.dataset.script,
      JSON.parse(s.textContent),
    ]),
  );
  const modules = {};
  const decode = (s) => new DataView(Uint8Array.from(atob(s), (c) => c.charCodeAt(0)).buffer);
  for (const holder of document.querySelectorAll("[data-view]")) {
    const state = document.querySelector(`script[data-state="${holder.dataset.view}"]`);
    const { script, traits, binary } = JSON.parse(state.textContent);
    const values = { ...traits };
    for (const [name, data] of Object.entries(binary)) values[name] = decode(data);
    const listeners = new Map();
    const model = {
      alone: true,
      get: (name) => values[name],
      set: (name, value) => {
        values[name] = value;
        for (const f of [...(listeners.get(`change:${name}`) || [])]) f();
      },
      on: (name, f) => {
        if (!listeners.has(name)) listeners.set(name, new Set());
        listeners.get(name).add(f);
      },
      off: (name, f) => {
        listeners.get(name)?.delete(f);
      },
      send: () => {},
      save_changes: () => {},
    };
    modules[script] ??= import(URL.createObjectURL(new Blob([texts[script]], { type: "text/javascript" })));
    const { default: view } = await modules[script];
    const still = [...holder.childNodes]; // the picture that stands in where scripts do not run
    await view.render({ model, el: holder });
    for (const node of still) node.remove();
    holder.dataset.ready = "1";
  }
  document.documentElement.dataset.views = "ready";
})();
