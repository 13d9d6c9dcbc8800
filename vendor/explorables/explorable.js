/* What every explorable has: boards, controls, a clock, an address, and rest where nobody looks. A chapter adds its own file,
   with integrators and drawing, and closed forms come from formulas/<chapter>.js, which sympy wrote.

   attnflow.explorable(name, parts), where parts holds
     end, duration   of the clock, in units of its own and in seconds; clock, unit: the name and the unit of its time
     start, ranges   key -> number and key -> [least, most], of what is dragged; keys of controls and "t" are added
     presets         [{label, state, text}]; controls: [{key, label, unit, min, max, step, value, digits}] or
                     [{key, label, options: [[value, label], ...]}]
     table           {columns: [label, ...], rows: [[key, label], ...]}, read-outs
     setup(stage)    draws what is drawn once; solve(stage) after a change of the state; draw(stage) at each frame */
window.attnflow = window.attnflow || {};
attnflow.formulas = {};
attnflow.stages = {};
attnflow.stored = {};

(function () {
  "use strict";
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const FONT = 12, TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50];

  function element(tag, attributes, ...inside) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...inside);
    return made;
  }

  /* A number as a reader sees it: no zero has a sign, and what is no number is a dash. */
  function told(value, digits) {
    if (!Number.isFinite(value)) return "\u2013";
    return value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "\u2212");
  }

  /* A text that changes at each frame. A new node would have the browser look through the rules of the whole page again. */
  function write(element, text) {
    if (!element.firstChild) element.append("");
    if (element.firstChild.data === text) return false;
    element.firstChild.data = text;
    return true;
  }
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  class Stage {
    constructor(name, parts, place) {
      Object.assign(this, { name, parts, place, frames: 0, playing: false, visible: true, dirty: true, pending: 0, boards: {} });
      this.formulas = attnflow.formulas[name];
      this.controls = parts.controls || [];
      this.defaults = { ...parts.start, t: parts.end };
      for (const control of this.controls) this.defaults[control.key] = control.options ? control.options[0][0] : control.value;
      this.state = { ...this.defaults, ...this.fromAddress() };
      this.handles = [];
      this.views = [];
      this.build();
      parts.setup(this);
      this.refresh();
      new IntersectionObserver((entries) => {
        this.visible = entries[entries.length - 1].isIntersecting;
        this.request();
      }).observe(place);
      new MutationObserver(() => this.set(this.state, false)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      window.addEventListener("hashchange", () => this.set(this.fromAddress(), false));
    }

    /* --- what stands on the page --- */

    build() {
      const { parts, name } = this;
      this.says = element("p", { class: "explorable-says" });
      const presets = element("div", { class: "explorable-presets", role: "group", "aria-label": "Starts to try" });
      for (const preset of parts.presets || []) {
        const button = element("button", { type: "button" }, preset.label);
        button.addEventListener("click", () => this.take(preset));
        presets.append(button);
      }
      this.stageBox = element("div", { class: `explorable-boards explorable-${name}` });
      const panel = element("div", { class: "explorable-controls" });
      if (parts.end) panel.append(this.clock());
      for (const control of this.controls) panel.append(control.options ? this.choice(control) : this.slider(control));
      this.place.append(presets, this.says, this.stageBox, panel);
      if (parts.table) this.place.append(this.readouts(parts.table));
      this.place.hidden = false;
      this.place.closest("figure").classList.add("explorable-runs");
      const first = (parts.presets || [])[0];
      if (first) this.say(first.text);
    }

    say(text) {
      this.says.textContent = text;
    }

    take(preset) {
      this.say(preset.text);
      this.set({ ...this.defaults, ...preset.state, t: this.parts.end });
      if (this.parts.end && !still.matches) {
        this.state.t = 0;
        this.play(true);
      }
    }

    slider({ key, label, unit, min, max, step, digits }) {
      const id = `${this.name}-${key}`;
      const input = element("input", { type: "range", id, min, max, step });
      const output = element("output", { for: id });
      const update = () => {
        const text = `${told(this.state[key], digits)}${unit ? ` ${unit}` : ""}`;
        if (!write(output, text)) return;
        input.value = this.state[key];
        input.setAttribute("aria-valuetext", text);
      };
      input.addEventListener("input", () => this.set({ [key]: Number(input.value) }));
      this.views.push(update);
      return element("div", { class: "explorable-slider" }, element("label", { for: id }, label), output, input);
    }

    choice({ key, label, options }) {
      const id = `${this.name}-${key}`;
      const select = element("select", { id });
      for (const [value, text] of options) select.append(element("option", { value }, text));
      select.addEventListener("change", () => this.set({ [key]: select.value }));
      this.views.push(() => (select.value = this.state[key]));
      return element("div", { class: "explorable-choice" }, element("label", { for: id }, label), select);
    }

    clock() {
      const { end, unit } = this.parts;
      this.button = element("button", { type: "button", class: "explorable-play" });
      this.button.addEventListener("click", () => this.press());
      const slider = this.slider({ key: "t", label: this.parts.clock, unit, min: 0, max: end, step: 0.01, digits: 2 });
      slider.querySelector("input").addEventListener("input", () => this.play(false));
      this.views.push(() => {
        const text = still.matches ? "Step" : this.playing ? "Pause" : "Play";
        write(this.button, text);
      });
      const box = element("div", { class: "explorable-clock" }, this.button);
      box.append(slider);
      return box;
    }

    readouts({ columns, rows }) {
      this.cells = {};
      const head = element("tr", {}, element("td"), ...columns.map((text) => element("th", { scope: "col" }, text)));
      const body = rows.map(([key, label]) => {
        const name = element("th", { scope: "row" });
        name.innerHTML = label;
        this.cells[key] = columns.map(() => element("td"));
        return element("tr", {}, name, ...this.cells[key]);
      });
      return element("table", { class: "explorable-table" }, element("thead", {}, head), element("tbody", {}, ...body));
    }

    /* Numbers of a row of the table, NaN where there is none; while it plays, at every fourth frame, for nobody reads faster. */
    show(key, values, digits = 3) {
      if (this.playing && this.frames % 4) return;
      this.cells[key].forEach((cell, place) => {
        write(cell, told(values[place], digits));
      });
    }

    /* --- state, and its address --- */

    set(change, keep = true) {
      for (const [key, value] of Object.entries(change)) this.state[key] = value;
      this.dirty = this.dirty || Object.keys(change).some((key) => key !== "t");
      this.request();
      if (keep) {
        clearTimeout(this.writing);
        this.writing = setTimeout(() => this.toAddress(), 300);
      }
    }

    toAddress() {
      const told = Object.keys(this.defaults).map((key) => {
        const value = this.state[key];
        return `${key}=${typeof value === "number" ? Number(value.toFixed(5)) : value}`;
      });
      history.replaceState(null, "", `#${this.name}:${told.join(",")}`);
    }

    fromAddress() {
      const [name, said] = decodeURIComponent(location.hash.slice(1)).split(":");
      if (name !== this.name || !said) return {};
      const found = {};
      for (const [key, text] of said.split(",").map((pair) => pair.split("="))) {
        const allowed = this.allowed(key);
        if (Array.isArray(allowed) ? allowed.includes(text) : allowed && text && Number.isFinite(Number(text)))
          found[key] = Array.isArray(allowed) ? text : clamp(Number(text), allowed.min, allowed.max);
      }
      return found;
    }

    /* What a key may be: an array of words, or {min, max}. */
    allowed(key) {
      const control = this.controls.find((one) => one.key === key);
      if (control) return control.options ? control.options.map(([value]) => value) : control;
      if (key === "t") return { min: 0, max: this.parts.end };
      const [min, max] = Object.hasOwn(this.parts.ranges, key) ? this.parts.ranges[key] : [];
      return min === undefined ? null : { min, max };
    }

    /* --- frames --- */

    press() {
      if (still.matches) {
        this.set({ t: this.state.t >= this.parts.end ? 0 : Math.min(this.parts.end, this.state.t + this.parts.end / 8) });
        return;
      }
      if (!this.playing && this.state.t >= this.parts.end) this.state.t = 0;
      this.play(!this.playing);
    }

    play(on) {
      this.playing = on;
      document.documentElement.classList.toggle("explorable-plays", Object.values(attnflow.stages).some((stage) => stage.playing));
      this.last = null;
      this.request();
    }

    request() {
      if (!this.pending && this.visible) this.pending = requestAnimationFrame((now) => this.frame(now));
    }

    frame(now) {
      this.pending = 0;
      if (!this.visible) return;
      if (this.playing) {
        const passed = this.last === null ? 0 : Math.min(now - this.last, 100) / 1000;
        this.last = now;
        this.state.t = Math.min(this.parts.end, this.state.t + (passed * this.parts.end) / this.parts.duration);
        if (this.state.t >= this.parts.end) {
          this.play(false);
          this.toAddress();
        }
      }
      this.refresh();
      if (this.playing) this.request();
    }

    refresh() {
      if (this.dirty) this.parts.solve(this);
      this.dirty = false;
      this.parts.draw(this);
      for (const update of [...this.views, ...this.handles]) update();
      this.frames += 1;
    }

    /* --- boards, drawn by JSXGraph --- */

    /* key: of the board; title: its name; box: [left, top, right, bottom]; across, up: names of its axes; square: equal units;
       legend: [[style, text], ...]. */
    board(key, { title, box, across, up, square = false, legend = [] }) {
      const id = `${this.name}-${key}`;
      const canvas = element("div", { id, class: "explorable-board" });
      const named = element("p", { class: "explorable-legend" }, element("b", {}, title));
      for (const [style, text] of legend) named.append(" ", element("span", { class: `explorable-key explorable-${style}` }, text));
      this.stageBox.append(element("div", { class: `explorable-panel explorable-${key}` }, named, canvas));
      const ink = { strokeColor: "var(--explorable-ink)", fontSize: FONT, display: "internal" };
      const axis = (name, offset, anchorX) => ({
        name, withLabel: true, strokeColor: "var(--explorable-faint)", strokeWidth: 1, lastArrow: false, highlight: false,
        label: { ...ink, position: "rt", offset, anchorX },
        ticks: { majorHeight: 6, minorTicks: 0, drawZero: false, strokeColor: "var(--explorable-faint)", label: ink, insertTicks: false },
      });
      const board = JXG.JSXGraph.initBoard(id, {
        boundingBox: box, axis: true, keepAspectRatio: square, showCopyright: false, showNavigation: false, showInfobox: false,
        title, renderer: "svg", pan: { enabled: false }, zoom: { enabled: false },
        registerEvents: { fullscreen: false, keyboard: false, pointer: false, resize: true, wheel: false },
        defaultAxes: { x: axis(across, [-4, 12], "right"), y: axis(up, [8, -10], "left") },
      });
      canvas.setAttribute("role", "group");
      this.boards[key] = board;
      this.view(board, box);
      return board;
    }

    /* What a board shows, [left, top, right, bottom], with some six ticks an axis. */
    view(board, box) {
      const apart = (size) => ({ ticksDistance: TICKS.find((one) => one >= size / 6) || size });
      board.defaultAxes.x.defaultTicks.setAttribute(apart(box[2] - box[0]));
      board.defaultAxes.y.defaultTicks.setAttribute(apart(box[1] - box[3]));
      board.setBoundingBox(box);
    }

    /* Shades under a board. Returns a function of (across, up) -> a number from 0, paper, to 1. */
    shades(board, style, cells = 90) {
      const canvas = element("canvas", { width: cells, height: cells, "aria-hidden": "true" });
      board.containerObj.prepend(canvas);
      const pen = canvas.getContext("2d"), image = pen.createImageData(cells, cells);
      return (of) => {
        const colour = getComputedStyle(this.place).getPropertyValue(`--explorable-${style}`).trim();
        const ink = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
        const [left, top, right, bottom] = board.getBoundingBox();
        for (let row = 0, place = 0; row < cells; row++)
          for (let column = 0; column < cells; column++, place += 4) {
            const value = of(left + ((column + 0.5) / cells) * (right - left), top + ((row + 0.5) / cells) * (bottom - top));
            image.data.set([...ink, 255 * clamp(value, 0, 1)], place);
          }
        pen.putImageData(image, 0, 0);
      };
    }

    /* A curve in one of the styles of explorable.css. Returns a function of the numbers across and up. */
    curve(board, style, attributes = {}) {
      const drawn = board.create("curve", [[0], [0]], {
        strokeColor: `var(--explorable-${style})`, strokeWidth: 2, highlight: false, fixed: true, needsRegularUpdate: true, ...attributes,
      });
      return (across, up) => {
        drawn.dataX = across;
        drawn.dataY = up;
        drawn.prepareUpdate().update().updateRenderer();
      };
    }

    /* A dot in one of the styles. Returns a function of its place. */
    dot(board, style, attributes = {}) {
      const drawn = board.create("point", [0, 0], {
        name: "", withLabel: false, size: 5, strokeWidth: 2, strokeColor: "var(--explorable-paper)", fillColor: `var(--explorable-${style})`,
        highlight: false, fixed: true, ...attributes,
      });
      const move = (across, up) => {
        drawn.setPositionDirectly(JXG.COORDS_BY_USER, [across, up]);
        drawn.prepareUpdate().update().updateRenderer();
      };
      move.drawn = drawn;
      return move;
    }

    /* Where a key of the state may go. */
    range(key) {
      const { min, max } = this.allowed(key);
      return [min, max];
    }

    /* A dot that is dragged, or moved by arrows. keys: of the state, across and up; label: what it is; step: of an arrow;
       settle: where it comes to rest, of where it was moved to. */
    handle(board, style, { keys, label, step, settle = (where) => where }) {
      const place = () => [this.state[keys[0]], this.state[keys[1]]];
      const move = this.dot(board, style, { size: 7 });
      const grip = this.dot(board, style, { size: 18, fillOpacity: 0, strokeOpacity: 0, tabindex: 0 });
      const node = grip.drawn.rendNode;
      const [least, most] = this.range(keys[0]);
      const named = { role: "slider", "aria-label": label, "aria-valuemin": least, "aria-valuemax": most, class: "explorable-grip" };
      for (const [name, value] of Object.entries(named)) node.setAttribute(name, value);
      const within = (where) => where.map((value, axis) => Number(clamp(value, ...this.range(keys[axis])).toFixed(3)));
      const to = (where) => {
        const found = within(settle(within(where)));
        this.play(false);
        this.set({ [keys[0]]: found[0], [keys[1]]: found[1], t: this.parts.end });
      };
      const follow = (event) => to(board.getUsrCoordsOfMouse(event));
      const canvas = board.containerObj;
      canvas.addEventListener("pointerdown", (event) => {
        if (event.pointerType !== "mouse" && event.target !== node) return;  // a finger beside the handle scrolls the page
        event.preventDefault();
        node.focus({ preventScroll: true });
        canvas.setPointerCapture(event.pointerId);
        canvas.addEventListener("pointermove", follow);
        follow(event);
      });
      for (const ended of ["pointerup", "pointercancel"]) canvas.addEventListener(ended, () => canvas.removeEventListener("pointermove", follow));
      node.addEventListener("keydown", (event) => {
        const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
        if (!ways[event.key]) return;
        event.preventDefault();
        const far = step * (event.shiftKey ? 10 : 1);
        to(place().map((value, axis) => value + far * ways[event.key][axis]));
      });
      let last = [];
      this.handles.push(() => {
        const [across, up] = place();
        if (last[0] === across && last[1] === up) return;
        last = [across, up];
        move(across, up);
        grip(across, up);
        node.setAttribute("aria-valuenow", across);
        node.setAttribute("aria-valuetext", keys.map((key) => `${key} = ${told(this.state[key], 3)}`).join(", "));
      });
    }
  }

  attnflow.explorable = function (name, parts) {
    for (const place of document.querySelectorAll(`[data-explorable="${name}"]`)) attnflow.stages[name] = new Stage(name, parts, place);
  };
})();
