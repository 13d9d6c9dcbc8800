/* Chapter 2: the reduced flow of seven token scores, for any number of samples, length and classes. Integration and drawing; margins,
   velocity and the limit come from formulas/cooccurrence.js. */
(function () {
  "use strict";
  const of = attnflow.formulas.cooccurrence;
  const END = 5, STEPS = 200, FIRST = 25, DRAWN = 2;  // decades of tau from 1 on and steps in them; steps before tau = 1; steps a point
  const MOST = 150, SHORT = 3, LONG = 10, EDGE = 0.55, RIGHT = END + 0.1;  // samples and lengths of the map; ends of a time axis
  const INKS = ["green", "blue", "sky", "purple"], CLASSES = ["I\u2081", "I\u2082", "I\u2083", "I\u2084"];
  const numbered = (name, count) => Array.from({ length: count }, (_, place) => of[`${name}_${place + 1}`]);
  const MARGINS = numbered("margin", 4), ALONG = numbered("along", 7);
  const parts = (name) => Object.fromEntries(numbered(name, 4).map((part, place) => [`w${place + 1}`, part()]));

  const plus = (one, other, size) => one.map((value, place) => value + size * other[place]);
  const over = (values, whole) => values.map((value) => value / whole);
  const total = (values) => values.reduce((one, other) => one + other, 0);

  const margins = (gamma, { L }) => MARGINS.map((margin) => margin(...gamma, L));
  const derivatives = (gamma, data) => margins(gamma, data).map((margin) => of.derivative(margin));
  const along = (g, { f, n }) => ALONG.map((speed) => speed(...g, ...f, n));
  const distances = (gamma, data) => over(margins(gamma, data), of.norm(...gamma, data.n, data.L, ...data.f));

  /* One step of Runge and Kutta, of a size in tau. */
  function step(gamma, size, data) {
    const velocity = (now) => along(derivatives(now, data), data);
    const one = velocity(gamma), two = velocity(plus(gamma, one, size / 2));
    const three = velocity(plus(gamma, two, size / 2)), four = velocity(plus(gamma, three, size));
    return gamma.map((value, place) => value + (size / 6) * (one[place] + 2 * two[place] + 2 * three[place] + four[place]));
  }

  function describe(gamma, data) {
    const sums = derivatives(gamma, data).map((value, place) => value * data.f[place]), far = distances(gamma, data);
    return { least: Math.min(...far), distances: far, shares: over(sums, total(sums)), rho: of.ratio(...sums) };
  }

  /* The flow from zero: even steps to tau = 1, then steps that grow with tau. right: the first record from which on all classes are
     right; end, mark: where Phase 1 ends, in tau and in decades, NaN where it is over at once or never. */
  function run(data) {
    const growth = 10 ** (END / STEPS), found = { tau: [0], gamma: [Array(7).fill(0)], seen: [null], end: NaN, mark: NaN };
    for (let place = 0; place < FIRST + STEPS; place++) {
      const tau = found.tau[place], size = place < FIRST ? 1 / FIRST : tau * (growth - 1);
      found.tau.push(tau + size);
      found.gamma.push(step(found.gamma[place], size, data));
      found.seen.push(describe(found.gamma[place + 1], data));
    }
    const last = found.seen.findLastIndex((seen) => seen && seen.least <= 0);
    found.right = Math.max(last, 0) + 1;
    if (last > 0 && found.right < found.tau.length) {
      const whole = found.tau[last + 1] - found.tau[last], part = crossing(found, last, whole, data);
      found.end = found.tau[last] + part;
      found.mark = ((last - FIRST + part / whole) * END) / STEPS;
    }
    return found;
  }

  /* How long after a record the least margin is zero, by false position within a whole step. */
  function crossing({ gamma, seen }, place, whole, data) {
    let low = [0, seen[place].least], high = [whole, seen[place + 1].least], size = 0;
    for (let turn = 0; turn < 4 && low[1] < 0; turn++) {
      size = low[0] - (low[1] * (high[0] - low[0])) / (high[1] - low[1]);
      const found = [size, describe(step(gamma[place], size, data), data).least];
      if (found[1] < 0) low = found;
      else high = found;
    }
    return size;
  }

  /* The limit: the dual of the classes, with class 4 idle or a support vector; the derivatives of the loss that belong to its sums push
     the scores to where the classes end. */
  function limit(data) {
    const at = (name) => of[name](data.n, data.L, ...data.f), idle = at("slack") >= 0;
    const sums = [1, ...["second", "third"].map((name) => at(`${name}_${idle ? "idle" : "active"}`)), idle ? 0 : at("fourth_active")];
    const way = along(sums.map((sum, place) => sum / data.f[place]), data);
    return { shares: over(sums, total(sums)), rho: of.ratio(...sums), excess: of.excess(...sums), distances: distances(way, data) };
  }

  const grid = (low, high, count) => Array.from({ length: count + 1 }, (_, place) => low + ((high - low) * place) / count);

  /* The number of samples at which a quantity turns positive, by bisection; NaN where it does not on the map. */
  function turning(quantity) {
    let low = 1, high = MOST;
    if (!(quantity(low) < 0 && quantity(high) > 0)) return NaN;
    for (let turn = 0; turn < 20; turn++) {
      const middle = (low + high) / 2;
      if (quantity(middle) < 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  function setup(stage) {
    const names = ["both", "first only", "second only", "neither"], dashed = { dash: 2, strokeWidth: 1.6 };
    const classes = names.map((text, place) => [INKS[place], `${CLASSES[place]} ${text}`]), [low, high] = [of.low(), of.high()];
    const legends = {
      distances: ["Distance from the plane", classes],
      shares: ["Share of the gradient", [["theory", "limit"], ["faint", "end of Phase 1"]]],
      rho: ["Ratio \u03c1 in Phase 2", [["run", "\u03c1"], ["theory", "limit"], ["shade", "its range"]]],
    };
    stage.draws = {};
    for (const [key, [title, legend]] of Object.entries(legends)) {
      const board = stage.board(key, { title, box: [-EDGE, 0.8, RIGHT, -0.1], across: "log\u2081\u2080 \u03c4", up: "", legend });
      if (key === "rho") {
        const band = { fillColor: "var(--explorable-shade)", fillOpacity: 0.35, strokeWidth: 0 };
        stage.curve(board, "shade", band)([0, END, END, 0], [low, low, high, high]);
      }
      const inks = key === "rho" ? ["run"] : INKS, width = (place) => (place === 1 ? 6 : 3);  // I_3 often lies on I_2
      stage.draws[key] = {
        board,
        lines: inks.map((ink, place) => stage.curve(board, ink, { strokeWidth: width(place) })),
        veil: stage.curve(board, "paper", { fillColor: "var(--explorable-paper)", fillOpacity: 0.7, strokeWidth: 0 }),  // what is to come
        end: stage.curve(board, "faint", { dash: 1, strokeWidth: 1.4 }),
        theory: stage.curve(board, "theory", dashed),
        now: inks.map((ink) => stage.dot(board, ink)),
      };
    }
    const map = stage.board("map", {
      title: "Where \u03c1 ends", box: [-14, LONG + 0.8, MOST * 1.04, -1.2], across: "n", up: "L",
      legend: [["theory", "at 1; left of it, below"], ["purple", "right of it, I\u2084 silent"], ["start", "here"]],
    });
    stage.map = { one: stage.curve(map, "theory", dashed), silent: stage.curve(map, "purple", dashed) };
    stage.handle(map, "start", { keys: ["n", "L"], label: "samples n and length L", step: 1 });
  }

  /* Both lines of the map, which depend on the classes alone. */
  function lines(stage, f) {
    if (String(f) === stage.mapped) return;
    stage.mapped = String(f);
    const lengths = grid(SHORT, LONG, 28);
    stage.map.one(lengths.map((L) => turning((n) => limit({ n, L, f }).excess)), lengths);
    stage.map.silent(lengths.map((L) => turning((n) => of.slack(n, L, ...f))), lengths);
  }

  const level = (levels, value) => levels.find((one) => one >= value) || levels[levels.length - 1];

  /* Heights of a board, set where they change: a board takes longer to lay out anew than the flow to follow. */
  function look(stage, key, above, below) {
    const own = stage.draws[key];
    if (own.above !== above || own.below !== below) stage.view(own.board, [-EDGE, above, RIGHT, -below]);
    Object.assign(own, { above, below });
  }

  function solve(stage) {
    const { state, draws } = stage;
    for (const key of ["n", "L"]) state[key] = Math.round(state[key]);
    const sizes = [state.w1, state.w2, state.w3, state.w4], data = { n: state.n, L: state.L, f: over(sizes, total(sizes)) };
    const found = run(data), last = limit(data), reached = found.seen.flatMap((seen) => (seen ? seen.distances : []));
    const top = level([2.4, 5, 10, 20, 40], 1.2 * last.rho), below = level([0.3, 0.7, 1.1, 1.7], -Math.min(...reached));
    look(stage, "distances", level([0.7, 1.1, 1.7], Math.max(...reached)), below);
    look(stage, "rho", top, top / 8);
    stage.inside = (rho) => Math.min(Math.max(rho, -top / 10), 0.97 * top);  // what leaves the board runs along its edge

    const kept = grid(0, STEPS, STEPS / DRAWN), later = kept.filter((place) => FIRST + place >= found.right);
    const line = (key, which, places, read) => draws[key].lines[which](
      places.map((place) => (place * END) / STEPS), places.map((place) => read(found.seen[FIRST + place])));
    for (const key of ["distances", "shares"]) INKS.forEach((_, which) => line(key, which, kept, (seen) => seen[key][which]));
    line("rho", 0, later, (seen) => stage.inside(seen.rho));
    const levels = { distances: last.distances, shares: last.shares, rho: [stage.inside(last.rho)] };
    for (const [key, own] of Object.entries(levels)) {
      draws[key].theory(own.flatMap(() => [0, END, NaN]), own.flatMap((value) => [value, value, NaN]));
      draws[key].end(found.mark > 0 ? [found.mark, found.mark] : [NaN], found.mark > 0 ? [-9, 99] : [NaN]);
    }
    lines(stage, data.f);
    Object.assign(stage, { data, run: found, limit: last });
  }

  function draw(stage) {
    const { state, draws, data, run: found, limit: last } = stage, tau = 10 ** state.t;
    const place = FIRST + Math.floor((state.t / END) * STEPS + 1e-9);
    const now = describe(step(found.gamma[place], tau - found.tau[place], data), data);
    const rho = tau >= found.end || found.right === 1 ? now.rho : NaN;
    const values = { distances: now.distances, shares: now.shares, rho: [stage.inside(rho)] };
    for (const [key, own] of Object.entries(values)) {
      draws[key].veil([state.t, RIGHT, RIGHT, state.t], [-9, -9, 99, 99]);
      own.forEach((value, which) => {
        const dot = draws[key].now[which];
        if (key === "distances") dot.drawn.visProp.size = 2 + 12 * now.shares[which];  // who falls silent shrinks
        dot(state.t, Number.isFinite(value) ? value : 999);
      });
    }
    CLASSES.forEach((_, which) => stage.show(`share${which}`, [now.shares[which], last.shares[which]]));
    stage.show("least", [Math.min(...now.distances), Math.min(...last.distances)]);
    stage.show("fourth", [now.distances[3], last.distances[3]]);
    stage.show("rho", [rho, last.rho]);
    stage.show("tau", [tau, NaN], 1);
    stage.show("end", [found.end, NaN]);
  }

  const size = (place, text) => ({
    key: `w${place}`, label: `size of ${CLASSES[place - 1]}, ${text}`, unit: "parts", min: 1, max: 10, step: 1, digits: 0,
    value: parts("equal")[`w${place}`],
  });
  attnflow.explorable("cooccurrence", {
    end: END, duration: 7, clock: "time, as log\u2081\u2080 \u03c4", unit: "", start: {}, ranges: {},
    controls: [
      { key: "n", label: "samples n", unit: "samples", min: 6, max: MOST, step: 1, value: of.samples(), digits: 0 },
      { key: "L", label: "length L", unit: "words", min: SHORT, max: LONG, step: 1, value: of.length(), digits: 0 },
      size(1, "both words"), size(2, "first only"), size(3, "second only"), size(4, "neither"),
    ],
    presets: [
      { label: "Sixty samples", state: {},
        text: "Try: play. Expect: I\u2082 and I\u2083 are on the wrong side first; after the dotted line all are right, "
          + "and the shares settle where the dual says." },
      { label: "Few samples", state: { n: of.few() },
        text: "Try: few samples. Expect: I\u2084 does not fall silent, all four classes head for one distance, "
          + "and \u03c1 ends below its range." },
      { label: "Many samples", state: { n: MOST },
        text: "Try: as many samples as the map holds. Expect: \u03c1 on its way to 3/2, shares to 7 : 5 : 5 : 0, "
          + "and I\u2084 far away and soon silent." },
      { label: "Unequal classes", state: parts("unequal"),
        text: "Try: two parts with both words, three with one of them. Expect: now I\u2081 is misjudged first, and for longer; "
          + "the shares end nearly where they did." },
      { label: "A rare class", state: parts("rare"),
        text: "Try: I\u2083 with one part in twenty. Expect: it is on the wrong side longest, and ends with less of the gradient "
          + "than I\u2082, though each of its samples pulls harder." },
      { label: "Rare and few", state: { n: 30, w1: 1, w2: 3, w3: 3, w4: 3 },
        text: "Try: thirty samples, of which three hold both words. Expect: \u03c1 leaves its range through the top; "
          + "classes of the usual sizes never do." },
    ],
    table: {
      columns: ["now", "limit"],
      rows: [
        ...CLASSES.map((name, place) => [`share${place}`, `share of <i>I</i>${name.slice(1)}`]),
        ["least", "least distance"], ["fourth", "distance of <i>I</i>\u2084"], ["rho", "ratio <i>\u03c1</i>"],
        ["tau", "time <i>\u03c4</i>"], ["end", "end of Phase 1, <i>\u03c4</i><sub>\u22c6</sub>"],
      ],
    },
    setup, solve, draw,
  });
})();
