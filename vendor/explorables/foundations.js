/* Chapter 1: the plane of two factors. Integrators and drawing; what is predicted comes from formulas/foundations.js. */
(function () {
  "use strict";
  const TARGET = 1, REACH = 2.3, END = 6, FINE = 0.01, FAR = 30, DRAWN = 0.04;  // DRAWN: as near in time as points of a line are
  const ADAM = { first: 0.9, second: 0.999, small: 1e-8 };  // as torch has them
  const VIEWS = [["plane", "a", "b"], ["product", "t", "u"], ["law", "t", "c"]];
  const LEVELS = [0.35, 1.3, 2.6, 6];

  const rhs = (of, decay) => ([a, b]) => [of.slope_a(a, b, TARGET, decay), of.slope_b(a, b, TARGET, decay)];
  const plus = (one, other, size) => one.map((value, place) => value + size * other[place]);

  /* One step of a method: (place, memory) -> place. */
  const METHODS = {
    flow: (slope) => (now) => {
      const one = slope(now), two = slope(plus(now, one, FINE / 2));
      const three = slope(plus(now, two, FINE / 2)), four = slope(plus(now, three, FINE));
      return now.map((value, place) => value + (FINE / 6) * (one[place] + 2 * two[place] + 2 * three[place] + four[place]));
    },
    descent: (slope, step) => (now) => plus(now, slope(now), step),
    adam: (slope, step) => {
      const mean = [0, 0], square = [0, 0];
      let count = 0;
      return (now) => {
        count += 1;
        const along = slope(now);
        return now.map((value, place) => {
          const gradient = -along[place];
          mean[place] += (1 - ADAM.first) * (gradient - mean[place]);
          square[place] += (1 - ADAM.second) * (gradient * gradient - square[place]);
          const root = Math.sqrt(square[place] / (1 - ADAM.second ** count)) + ADAM.small;
          return value - (step * mean[place]) / (1 - ADAM.first ** count) / root;
        });
      };
    },
  };

  /* The whole run from a place, with one step beyond its end: times, a, b, u, c. It ends early where it runs away. */
  function run(of, from, { method, step, decay }) {
    const size = method === "flow" ? FINE : step;
    const advance = METHODS[method](rhs(of, decay), step);
    const count = Math.floor(END / size + 1e-9) + 1;
    const found = { size, t: [], a: [], b: [], u: [], c: [] };
    let now = from;
    for (let place = 0; place <= count && Math.hypot(...now) < FAR; place++) {
      found.t.push(place * size);
      found.a.push(now[0]);
      found.b.push(now[1]);
      found.u.push(now[0] * now[1]);
      found.c.push(of.law(...now));
      now = advance(now);
    }
    return found;
  }

  /* u(t) of the flow without decay, from its start: a logistic curve where c = 0, and the inverse of the clock elsewhere. */
  function predictedProduct(of, start, balance, t) {
    const size = Math.abs(balance);
    if (size < 1e-9) return of.logistic(start < 0 ? -t : t, start, TARGET);
    if (start === TARGET) return start;
    const onClock = of.clock(size, start, TARGET) + (start < TARGET ? t : -t);
    return of.product(size, onClock, TARGET);
  }

  /* The time at which u passes half its target, from a start below that; NaN where it never does. */
  function predictedArrival(of, start, balance) {
    const size = Math.abs(balance), half = TARGET / 2;
    if (start >= half || (size < 1e-9 && start <= 0)) return NaN;
    const clock = (u) => (size < 1e-9 ? of.clock_balanced(u, TARGET) : of.clock(size, u, TARGET));
    return clock(half) - clock(start);
  }

  function arrival({ t, u }) {
    for (let place = 1; place < u.length; place++)
      if (u[place - 1] < TARGET / 2 && u[place] >= TARGET / 2)
        return t[place - 1] + ((TARGET / 2 - u[place - 1]) / (u[place] - u[place - 1])) * (t[place] - t[place - 1]);
    return NaN;
  }

  const grid = (low, high, count) => Array.from({ length: count + 1 }, (_, place) => low + ((high - low) * place) / count);

  /* Both branches of a^2 - b^2 = c, or the two lines where c = 0. */
  function hyperbola(of, c) {
    const along = grid(-REACH, REACH, 120), arm = along.map((value) => of.arm(value, Math.abs(c)));
    const free = [...along, NaN, ...along], bound = [...arm, NaN, ...arm.map((value) => -value)];
    return c >= 0 ? [bound, free] : [free, bound];
  }

  /* What is drawn of a run up to a place. */
  function line(found, across, up, place) {
    const every = Math.max(1, Math.round(DRAWN / found.size)), kept = [];
    for (let one = 0; one < place; one += every) kept.push(one);
    kept.push(place);
    return [kept.map((one) => found[across][one]), kept.map((one) => found[up][one])];
  }

  function level(values, sign) {
    const most = Math.max(...values.filter(Number.isFinite).map((value) => sign * value), 0);
    return sign * (LEVELS.find((one) => one >= most) || LEVELS[LEVELS.length - 1]);
  }

  function setup(stage) {
    const plane = stage.board("plane", {
      title: "The plane of both factors", box: [-REACH, REACH, REACH, -REACH], across: "a", up: "b", square: true,
      legend: [["run", "run"], ["theory", "its hyperbola"], ["ghost", "balanced ghost"], ["target", "ab = y"]],
    });
    const products = stage.board("product", {
      title: "Product u = ab", box: [-0.6, 1.3, END * 1.02, -0.3], across: "t", up: "u",
      legend: [["run", "run"], ["theory", "closed form"], ["ghost", "ghost"]],
    });
    const laws = stage.board("law", {
      title: "Imbalance c = a\u00b2 \u2212 b\u00b2", box: [-0.6, 1.3, END * 1.02, -0.3], across: "t", up: "c",
      legend: [["run", "run"], ["theory", "c(0) e^(\u22122\u03bbt)"]],
    });
    const dashed = { dash: 2, strokeWidth: 1.6 };
    const minimum = grid(TARGET / REACH, REACH, 60);
    stage.curve(plane, "target", { strokeWidth: 2.5 })([...minimum, NaN, ...minimum.map((value) => -value)],
      [...minimum.map((value) => TARGET / value), NaN, ...minimum.map((value) => -TARGET / value)]);
    stage.curve(plane, "faint", dashed)([-REACH, REACH], [REACH, -REACH]);
    stage.draws = { plane, products, laws };
    for (const [name, board] of [["plane", plane], ["product", products], ["law", laws]]) {
      stage.draws[name] = {
        ahead: stage.curve(board, "run", { strokeWidth: 4, strokeOpacity: 0.3 }),
        ghost: name === "law" ? null : stage.curve(board, "ghost", { strokeWidth: 2 }),
        behind: stage.curve(board, "run", { strokeWidth: 3 }),
        theory: stage.curve(board, "theory", dashed),
        ghostNow: name === "law" ? null : stage.dot(board, "ghost", { size: 4 }),
        now: stage.dot(board, "run"),
      };
    }
    stage.handle(plane, "start", { keys: ["a", "b"], label: "start of the run, factors a and b", step: 0.02 });
  }

  /* The balanced start: with the same product, or with the same size a^2 + b^2, on the same side of the separatrix. */
  function ghostStart(of, { a, b, ghost }) {
    const side = a + b < 0 ? -1 : 1, size = of.factor(ghost === "size" ? (a * a + b * b) / 2 : a * b, 0);
    return ghost === "product" && a * b < 0 ? [side * size, -side * size] : [side * size, side * size];
  }

  function solve(stage) {
    const of = stage.formulas, { state, draws } = stage, from = [state.a, state.b];
    stage.run = run(of, from, state);
    stage.ghost = run(of, ghostStart(of, state), state);
    stage.c = of.law(...from);
    const times = grid(0, END, 240);
    const u = times.map((t) => predictedProduct(of, state.a * state.b, stage.c, t));
    const c = times.map((t) => of.law_decayed(stage.c, state.decay, t));
    for (const [board, values] of [[draws.products, [...stage.run.u, ...u, TARGET]], [draws.laws, [...stage.run.c, ...c]]])
      stage.view(board, [-0.6, level(values, 1), END * 1.02, level(values, -1)]);
    draws.product.theory(times, u);
    draws.law.theory(times, c);
    draws.plane.theory(...hyperbola(of, stage.c));
    for (const [name, across, up] of VIEWS) {
      draws[name].ahead(...line(stage.run, across, up, stage.run.t.length - 2));
      if (draws[name].ghost) draws[name].ghost(...line(stage.ghost, across, up, stage.ghost.t.length - 2));
    }
    stage.arrivals = [arrival(stage.run), predictedArrival(of, state.a * state.b, stage.c), arrival(stage.ghost)];
  }

  function draw(stage) {
    const of = stage.formulas, { state, draws, run: found, ghost } = stage;
    const at = (path) => Math.min(Math.floor(state.t / path.size + 1e-9), path.t.length - 2);
    const place = Math.max(at(found), 0), other = Math.max(at(ghost), 0);
    for (const [name, across, up] of VIEWS) {
      draws[name].behind(...line(found, across, up, place));
      draws[name].now(found[across][place], found[up][place]);
      if (draws[name].ghostNow) draws[name].ghostNow(ghost[across][other], ghost[up][other]);
    }
    const t = found.t[place], flows = state.method === "flow", { decay, step } = state;
    const wanted = flows ? of.law_decayed(found.c[place], decay, FINE) - found.c[place]
      : of.increment(found.a[place], found.b[place], TARGET, step, decay);
    stage.show("u", [found.u[place], decay ? NaN : predictedProduct(of, state.a * state.b, stage.c, t), ghost.u[other]]);
    stage.show("c0", [stage.c, NaN, ghost.c[0]]);
    stage.show("c", [found.c[place], of.law_decayed(stage.c, decay, t), ghost.c[other]]);
    stage.show("dc", [found.c[place + 1] - found.c[place], wanted, NaN], 5);
    stage.show("half", decay ? [stage.arrivals[0], NaN, stage.arrivals[2]] : stage.arrivals);
  }

  attnflow.explorable("foundations", {
    end: END, duration: 6, clock: "time t", unit: "units of time",
    start: { a: 1.41428, b: 0.01414 }, ranges: { a: [-REACH, REACH], b: [-REACH, REACH] },
    controls: [
      { key: "method", label: "method", options: [["flow", "gradient flow"], ["descent", "gradient descent"], ["adam", "Adam"]] },
      { key: "step", label: "step \u03b7", unit: "units of time", min: 0.01, max: 1.2, step: 0.01, value: 0.1, digits: 2 },
      { key: "decay", label: "weight decay \u03bb", unit: "per unit of time", min: 0, max: 0.5, step: 0.01, value: 0, digits: 2 },
      { key: "ghost", label: "balanced ghost with", options: [["product", "the same product ab"], ["size", "the same size a\u00b2 + b\u00b2"]] },
    ],
    presets: [
      { label: "Same product", state: { a: 1.41428, b: 0.01414 },
        text: "Try: both runs begin at u = 0.02, one with c = 2, its ghost with c = 0. Expect: the run is at half the target six times as early." },
      { label: "Balanced", state: { a: 0.14142, b: 0.14142 },
        text: "Try: a balanced start, c = 0; drag it along the diagonal. Expect: the run stays on the diagonal, and u follows the logistic curve." },
      { label: "Same size", state: { a: 0.6, b: 0.05, ghost: "size" },
        text: "Try: run and ghost begin with the same a\u00b2 + b\u00b2. Expect: now the balanced one is first; it starts with the larger product." },
      { label: "Step too large", state: { a: 1.41428, b: 0.01414, method: "descent", step: 0.75 },
        text: "Try: descent with \u03b7 = 0.75. Expect: u overshoots and c falls with each leap, by the amount that the formula for one step says; the run ends on another hyperbola." },
      { label: "Weight decay", state: { a: 1.41428, b: 0.01414, decay: 0.2 },
        text: "Try: \u03bb = 0.2. Expect: c is forgotten as e^(\u22122\u03bbt), whatever the loss does, and the run leaves its hyperbola for the diagonal." },
      { label: "Adam", state: { a: 1.41428, b: 0.01414, method: "adam", step: 0.05 },
        text: "Try: Adam, both factors moved by steps of a like size. Expect: c moves from the first step on, and the formula for one step of descent says nothing about it." },
    ],
    table: {
      columns: ["run", "predicted", "ghost"],
      rows: [["u", "product <i>u</i> now"], ["c0", "imbalance <i>c</i>(0)"], ["c", "imbalance <i>c</i> now"], ["dc", "change of <i>c</i> in the next step"],
        ["half", "time at which <i>u</i> passes <i>y</i>/2"]],
    },
    setup, solve, draw,
  });
})();
