/* Chapter 5: the collapse of one output. The flow and drawing; branches and their ends come from formulas/meanfield.js. */
(function () {
  "use strict";
  const LEAST = 0.05, MOST = 1.25, COUNT = 240, SEEN = 0.02;  // of the scan: its decays, and from where on outputs differ
  const FLOOR = 1e-3, STILL = 1e-7, SHARE = 0.1, STEPS = 1000;  // of the flow: the nudge, the rate that counts as rest, steps
  const LEVELS = [0.02, 0.06, 0.15, 0.4, 1, 2.2];  // the view of the landscape
  const HEADS = [1, 9], PLAIN = [0.3, 0.9];

  const grid = (low, high, count) => Array.from({ length: count + 1 }, (_, place) => low + ((high - low) * place) / count);
  const DECAYS = grid(LEAST, MOST, COUNT);

  /* Where the flow ends that begins at two factors: implicit Euler, linear in each step. A step changes no factor by more than a
     share, grows as the state comes to rest, and stays short where the flow leaves a saddle, which it would be drawn to else.
     Both factors are nudged away from zero, which they could not leave by themselves. */
  function rest(of, from, { a, heads }, decay) {
    let [v, q] = from.map((value) => Math.max(value, FLOOR));
    for (let count = 0; count < STEPS; count++) {
      const at = [v, q, a, heads, decay], x = of.along_v(...at), y = of.along_q(...at);
      const fast = Math.max(v < FLOOR && x < 0 ? 0 : Math.abs(x) / v, q < FLOOR && y < 0 ? 0 : Math.abs(y) / q);
      if (fast < STILL) break;
      const xx = of.v_by_v(...at), xy = of.v_by_q(...at), yy = of.q_by_q(...at);
      const grows = (xx + yy + Math.hypot(xx - yy, 2 * xy)) / 2;
      const size = SHARE / Math.max(fast, grows);
      const p = 1 - size * xx, r = -size * xy, s = 1 - size * yy, whole = p * s - r * r;
      v += (size * (s * x - r * y)) / whole;
      q += (size * (p * y - r * x)) / whole;
    }
    return [v, q];
  }

  const split = (of, u, { a, heads }) => [of.split_v(u, a, heads), of.split_q(u, a, heads) || 0];
  const outputOf = (of, [v, q], { a, heads }) => of.output(v, q, a, heads);

  /* Decay after decay, each from the rest before: up from the least one, and down again. */
  function scan(of, state) {
    const walk = (decays, from) => {
      let now = from;
      return decays.map((decay) => {
        now = rest(of, now, state, decay);
        return outputOf(of, now, state);
      });
    };
    const up = walk(DECAYS, split(of, of.target(), state)), down = walk([...DECAYS].reverse(), [0, 0]);
    const apart = up.map((value, place) => Math.abs(value - down[COUNT - place]) > SEEN);
    const between = (place) => (place > 0 && place <= COUNT ? (DECAYS[place - 1] + DECAYS[place]) / 2 : NaN);
    const left = down.findIndex((value) => value > FLOOR);
    return {
      across: [...DECAYS, ...[...DECAYS].reverse()], up: [...up, ...down],
      first: between(apart.indexOf(true)), last: apart.includes(true) ? between(apart.lastIndexOf(true) + 1) : NaN,
      leaves: left < 0 ? NaN : between(COUNT - left + 1),
    };
  }

  const turns = (of, { a, heads }) => of.joins(a, heads) < of.fold();

  function name(board, html, colour) {
    return board.create("text", [0, 0, html], {
      display: "html", fontSize: 13, fixed: true, highlight: false, anchorX: "middle", strokeColor: `var(--explorable-${colour})`,
    });
  }

  function setup(stage) {
    const of = stage.formulas, dashed = { dash: 2, strokeWidth: 1.6 };
    const diagram = stage.board("diagram", {
      title: "Output at rest over the decay", box: [-0.12, 1.15, 1.3, -0.1], across: "\u03bb", up: "u",
      legend: [["run", "the state"], ["ghost", "scan"], ["ink", "stable branch"], ["theory", "unstable branch"]],
    });
    const landscape = stage.board("landscape", {
      title: "Objective over the output, at the decay of the state", box: [-0.16, 0.4, 1.1, -0.4], across: "u",
      up: "\ud835\udcac \u2212 \ud835\udcac(0)",
      legend: [["run", "the state"]],
    });
    const map = stage.board("map", {
      title: "Which nets jump", box: [-1.2, 1.2, 10, -0.2], across: "N", up: "a",
      legend: [["start", "here"], ["theory", "predicted edges"]],
    });
    stage.draws = {
      diagram, landscape,
      ahead: stage.curve(diagram, "ghost", { strokeWidth: 7, strokeOpacity: 0.2 }),
      behind: stage.curve(diagram, "ghost", { strokeWidth: 5, strokeOpacity: 0.8 }),
      stable: stage.curve(diagram, "theory", { strokeWidth: 1.8 }), unstable: stage.curve(diagram, "theory", dashed),
      marks: stage.curve(diagram, "target", { dash: 1, strokeWidth: 1.3 }),
      critical: name(diagram, "\u03bb<sub>c</sub>", "target"), end: name(diagram, "\u03bb<sub>end</sub>", "target"),
      scanned: stage.dot(diagram, "ghost"),
      falls: stage.curve(diagram, "run", { strokeWidth: 2.5 }),
      height: stage.curve(landscape, "theory", { strokeWidth: 1.8 }), ball: stage.dot(landscape, "run"),
      here: stage.dot(map, "start"),
    };
    const heads = grid(0, HEADS[1] + 1, 60);
    for (const edge of [of.band, of.bistable]) stage.curve(map, "theory", dashed)(heads, heads.map(edge));
    for (const [html, x, y] of [["a band", 6.8, 0.3], ["a jump below \u03bb<sub>c</sub>", 7.4, 0.78], ["no jump", 2, 1.08]])
      name(map, html, "ink").setPositionDirectly(JXG.COORDS_BY_USER, [x, y]);
    stage.handle(diagram, "run", {
      keys: ["decay", "u"], label: "weight decay of the state, and its output", step: 0.01,
      settle: ([decay]) => [decay, outputOf(of, rest(of, split(of, stage.state.u, stage.state), stage.state, decay), stage.state)],
    });
    stage.draws.now = stage.dot(diagram, "run");
  }

  function drawBranches(of, { a, heads }, draws) {
    const critical = of.critical(a), joins = of.joins(a, heads), fold = of.fold(), end = of.end(heads);
    const line = (low, high) => grid(low, high, 60);
    const lower = turns(of, { a, heads }) ? line(joins, fold) : [];
    const upper = [...line(0, Math.min(joins, of.target())), NaN, ...line(Math.max(fold, joins), of.target())];
    const along = (outputs) => outputs.map((u) => of.branch(u, a, heads));
    draws.stable([...along(upper), NaN, critical, MOST], [...upper, NaN, 0, 0]);
    draws.unstable([...along(lower), NaN, 0, critical], [...lower, NaN, 0, 0]);
    draws.marks([critical, critical, ...(lower.length ? [NaN, end, end] : [])], [0, 1.02, ...(lower.length ? [NaN, 0, 1.02] : [])]);
    draws.critical.setPositionDirectly(JXG.COORDS_BY_USER, [critical, 1.08]);
    draws.end.setPositionDirectly(JXG.COORDS_BY_USER, lower.length ? [end, Math.abs(end - critical) < 0.12 ? 0.95 : 1.08] : [99, 99]);
    for (const text of [draws.critical, draws.end]) text.prepareUpdate().update().updateRenderer();
  }

  function solve(stage) {
    const of = stage.formulas, { state, draws } = stage, { a, heads, decay } = state;
    if (stage.scan?.a !== a || stage.scan?.heads !== heads) {
      stage.scan = { a, heads, ...scan(of, state) };
      draws.ahead(stage.scan.across, stage.scan.up);
      drawBranches(of, state, draws);
    }
    stage.rest = outputOf(of, rest(of, split(of, state.u, state), state, decay), state);
    const outputs = grid(0, 1.08, 160), zero = of.landscape(0, a, heads, decay);
    const heights = outputs.map((u) => of.landscape(u, a, heads, decay) - zero);
    const level = (sign) => LEVELS.find((one) => one >= Math.max(...heights.map((value) => sign * value))) || LEVELS[LEVELS.length - 1];
    const depth = 1.15 * level(-1), box = [-0.16, Math.max(1.05 * level(1), 0.3 * depth), 1.1, -depth];
    if (`${box}` !== stage.shown) stage.view(draws.landscape, box);
    stage.shown = `${box}`;
    draws.height(outputs, heights);
    draws.ball(stage.rest, of.landscape(stage.rest, a, heads, decay) - zero);
    draws.falls([decay, decay], [state.u, stage.rest]);
    draws.now(decay, stage.rest);
    draws.here(heads, a);
    const { first, last, leaves } = stage.scan, jumps = turns(of, state);
    stage.show("u", [stage.rest, NaN]);
    stage.show("decay", [decay, stage.rest > FLOOR ? of.branch(stage.rest, a, heads) : NaN]);
    stage.show("leaves", [leaves, of.critical(a)]);
    stage.show("first", [first, jumps ? of.switch(a, heads) : NaN]);
    stage.show("last", [last, jumps ? of.end(heads) : NaN]);
  }

  function draw(stage) {
    const { state, draws, scan: { across, up } } = stage, place = Math.round(state.t * (across.length - 1));
    draws.behind(across.slice(0, place + 1), up.slice(0, place + 1));
    draws.scanned(across[place], up[place]);
  }

  attnflow.explorable("meanfield", {
    end: 1, duration: 8, clock: "scan, up and down", unit: "",
    start: { decay: 0.4 }, ranges: { decay: [LEAST, MOST] },
    controls: [
      { key: "heads", label: "heads N", unit: "heads", min: HEADS[0], max: HEADS[1], step: 1, value: 4, digits: 0 },
      { key: "a", label: "gain a without attention", min: PLAIN[0], max: PLAIN[1], step: 0.01, value: 0.5, digits: 2 },
      { key: "u", label: "output u at the start", unit: "of the target", min: 0, max: 1, step: 0.01, value: 0.77, digits: 2 },
    ],
    presets: [
      { label: "Four heads", state: {},
        text: "Try: drag the state to the right until it falls, and back. Expect: it stands on the upper branch as far as the red line on the right, and comes back to life only left of the other one." },
      { label: "Kick", state: { decay: 0.6, u: 0.1 },
        text: "Try: \u03bb = 0.6, where zero and the upper branch are both stable. Raise the output at the start. Expect: above the dashed branch the flow ends on the upper one, below it at zero." },
      { label: "Nine heads", state: { heads: 9, decay: 1.1, u: 0.46 },
        text: "Try: nine heads share the decay of the attention. Expect: the branch ends at \u221a(9/4) = 1.5 times the decay at which that of four heads ends; where zero loses stability stays the same." },
      { label: "One head", state: { heads: 1, decay: 0.3, u: 0.62 },
        text: "Try: one head alone. Expect: the branch ends before zero is stable. Both ways differ in a sliver only, and zero is never stable beside another state." },
      { label: "No jump", state: { heads: 1, a: 0.8, decay: 0.3, u: 0.62 },
        text: "Try: a gain without attention so large that Ncy < 3a\u00b2. Expect: the scan goes up and comes down on one and the same line." },
    ],
    table: {
      columns: ["flow", "predicted"],
      rows: [["u", "output <i>u</i> at rest"], ["decay", "decay <i>\u03bb</i> at which it rests"],
        ["leaves", "on the way down zero is left at <i>\u03bb</i> ="], ["first", "both ways differ from <i>\u03bb</i> ="],
        ["last", "both ways differ up to <i>\u03bb</i> ="]],
    },
    setup, solve, draw,
  });
})();
