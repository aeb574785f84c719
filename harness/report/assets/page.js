// What is here: the charts. All share one time axis, one cursor and one zoom; stages, faults and ways back are bands behind
// every chart, decisions are dashed marks. It must not read anything but #data, and writes text only as text.
"use strict";
(function () {
  const host = document.getElementById("charts");
  if (!host) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const AXIS = 56, LANE = 20, whole = { min: 0, max: data.end };
  let range = whole, charts = [], keys = [];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const clock = (s) => {
    const sign = s < 0 ? "-" : "", all = Math.floor(Math.abs(s) + 1e-6);
    return sign + Math.floor(all / 60) + ":" + String(all % 60).padStart(2, "0");
  };
  const number = (v) => v === 0 ? "0" : Math.abs(v) >= 1000 ? v.toLocaleString("en-US", { maximumFractionDigits: 0 }) : String(Number(v.toPrecision(3)));
  // Milliseconds from a thousand on are told in seconds: their digits would not fit beside the chart.
  const measure = (v, unit) => unit === " ms" && Math.abs(v) >= 1000 ? number(v / 1000) + " s" : number(v) + unit;
  const element = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  function box(u, from, to) {
    const left = u.bbox.left, right = left + u.bbox.width;
    const x0 = Math.max(left, u.valToPos(from, "x", true)), x1 = Math.min(right, u.valToPos(to, "x", true));
    return x1 <= left || x0 >= right ? null : [x0, Math.max(x1, x0 + 2)];
  }

  function bands(u) {
    const c = u.ctx;
    c.save();
    data.stages.forEach((s, i) => {
      const b = box(u, s.from, s.to);
      if (!b) return;
      c.globalAlpha = i % 2 === 0 ? 1 : 0.45;
      c.fillStyle = css("stage"); c.fillRect(b[0], u.bbox.top, b[1] - b[0], u.bbox.height);
    });
    c.globalAlpha = 1;
    for (const [list, color] of [[data.faults, "fault"], [data.backs, "back"]]) {
      c.fillStyle = css(color);
      for (const f of list) { const b = box(u, f.from, f.to); if (b) c.fillRect(b[0], u.bbox.top, b[1] - b[0], u.bbox.height); }
    }
    c.restore();
  }

  function marks(u) {
    const c = u.ctx, r = devicePixelRatio || 1;
    c.save();
    c.strokeStyle = css("soft"); c.lineWidth = r; c.setLineDash([3 * r, 3 * r]);
    for (const at of data.marks) {
      const b = box(u, at, at);
      if (!b) continue;
      c.beginPath(); c.moveTo(b[0], u.bbox.top); c.lineTo(b[0], u.bbox.top + u.bbox.height); c.stroke();
    }
    c.restore();
  }

  function label(c, text, b, u, inside) {
    const r = devicePixelRatio || 1, pad = 5 * r, room = b[1] - b[0] - 2 * pad, wide = (t) => c.measureText(t).width;
    if (wide(text) <= room) return [text, b[0] + pad, "left"];
    if (!inside) {
      if (b[1] + pad + wide(text) <= u.bbox.left + u.bbox.width) return [text, b[1] + pad, "left"];
      if (b[0] - pad - wide(text) >= u.bbox.left) return [text, b[0] - pad, "right"];
    }
    let cut = text;
    while (cut.length > 1 && wide(cut + "…") > room) cut = cut.slice(0, -1);
    return cut.length > 2 ? [cut + "…", b[0] + pad, "left"] : null;
  }

  // The lanes above the charts: which stage, fault and way back a band is, and the numbers of the decisions.
  const lanes = [
    ...(data.stages.length ? [{ items: data.stages, fill: "stage", ink: "ink", inside: true }] : []),
    ...data.faults.map((f) => ({ items: [f], fill: "fault", ink: "fault-ink", inside: false })),
    ...data.backs.map((b) => ({ items: [b], fill: "back", ink: "back-ink", inside: false })),
    ...(data.marks.length ? [{ items: [], marks: true }] : []),
  ];
  function drawLanes(u) {
    const c = u.ctx, r = devicePixelRatio || 1;
    c.save();
    c.font = 12 * r + "px " + getComputedStyle(document.body).fontFamily;
    c.textBaseline = "middle";
    lanes.forEach((lane, i) => {
      const top = u.bbox.top + i * LANE * r, height = (LANE - 3) * r, middle = top + height / 2;
      for (const item of lane.items) {
        const b = box(u, item.from, item.to);
        if (!b) continue;
        c.fillStyle = css(lane.fill); c.fillRect(b[0], top, b[1] - b[0], height);
        c.strokeStyle = css("line"); c.lineWidth = r; c.strokeRect(b[0], top, b[1] - b[0], height);
        const l = label(c, item.name, b, u, lane.inside);
        if (l) { c.fillStyle = css(lane.ink); c.textAlign = l[2]; c.fillText(l[0], l[1], middle); }
      }
      if (lane.marks) {
        const groups = [];
        data.marks.forEach((at, k) => {
          const b = box(u, at, at), near = groups.at(-1);
          if (b && near && b[0] - near.x < 26 * r) near.to = k + 1;
          else if (b) groups.push({ x: b[0], from: k + 1, to: k + 1 });
        });
        c.textAlign = "center"; c.fillStyle = css("ink");
        for (const g of groups) c.fillText(g.from === g.to ? String(g.from) : g.from + "–" + g.to, g.x, middle);
      }
    });
    c.restore();
  }

  function axes(last, unit) {
    const text = { stroke: css("soft"), font: "12px system-ui, sans-serif", grid: { stroke: css("line"), width: 1 }, ticks: { show: false } };
    const time = { ...text, show: last, size: 26, values: (_, v) => v.map(clock), incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600], space: 56 };
    return [time, { ...text, size: AXIS, space: 28, values: (_, v) => v.map((x) => unit === null ? "" : measure(x, unit)) }];
  }

  function zoom(min, max) {
    range = { min: Math.max(whole.min, min), max: Math.min(whole.max, max) };
    charts.forEach((u) => u.setScale("x", range));
  }

  function options(width, height, last, spec, index) {
    const lanesOnly = spec === null;
    return {
      width, height: height + (last ? 26 : 0), padding: [lanesOnly ? 0 : 6, 18, last ? 0 : 4, 0], legend: { show: false },
      cursor: { sync: { key: "run" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false, bind: { dblclick: () => () => { zoom(whole.min, whole.max); choose(""); } } },
      scales: {
        x: { time: false, min: range.min, max: range.max, range: () => [range.min, range.max] },
        y: { range: (_, min, max) => [0, lanesOnly ? 1 : Math.max(max || 0, spec.least || 0, 1e-3) * 1.08] },
      },
      axes: lanesOnly ? axes(false, null).map((a, i) => i ? { ...a, grid: { show: false } } : a) : axes(last, spec.unit),
      series: [{}].concat(lanesOnly ? [{ show: false }] : spec.series.map((s) => ({
        label: s.label, stroke: css(s.role), width: s.role === "asked" || s.role === "all" ? 1.25 : 1.75, dash: s.role === "asked" ? [5, 4] : s.role === "all" ? [2, 3] : undefined,
        spanGaps: false, points: { show: (u, si, i0, i1) => i1 - i0 < 3 || lonely(s.values), size: 4 }, paths: s.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
      }))),
      hooks: {
        drawClear: [(u) => { if (!lanesOnly) bands(u); }],
        draw: [(u) => { if (lanesOnly) drawLanes(u); else marks(u); }],
        setCursor: [(u) => { if (!lanesOnly) show(index, u.cursor.idx); }],
        setSelect: [(u) => {
          if (u.select.width > 4) { zoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")); choose("own"); }
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
      },
    };
  }

  // Points are drawn where a line would not show: values with no neighbour.
  const lonely = (values) => values.some((v, i) => v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null);

  function show(index, at) {
    const { spec, time, spans } = keys[index];
    const known = at !== null && at !== undefined;
    time.textContent = known ? clock(data.t[at] - data.width / 2) : "";
    spec.series.forEach((s, i) => {
      const v = known ? s.values[at] : undefined;
      spans[i].textContent = !known ? "" : v === null ? " no data" : " " + measure(v, spec.unit);
    });
  }

  function head(spec) {
    const line = element("div", "chart-head"), spans = [];
    line.append(element("b", "", spec.title));
    for (const s of spec.series) {
      const key = element("span", "key"), swatch = element("i"), value = element("span");
      swatch.style.background = css(s.role);
      key.append(swatch, s.label, value);
      spans.push(value);
      line.append(key);
    }
    const time = element("span", "key");
    line.append(time);
    keys.push({ spec, time, spans });
    return line;
  }

  function build() {
    charts.forEach((u) => u.destroy());
    charts = []; keys = [];
    host.replaceChildren();
    const width = host.clientWidth, x = data.t;
    if (lanes.length) {
      const div = element("div", "chart");
      host.append(div);
      charts.push(new uPlot(options(width, lanes.length * LANE + 4, false, null, -1), [x, x.map(() => null)], div));
    }
    data.charts.forEach((spec, i) => {
      const div = element("div", "chart");
      div.setAttribute("role", "img");
      div.setAttribute("aria-label", spec.title + " over time: " + spec.series.map((s) => s.label).join(", "));
      div.append(head(spec));
      host.append(div);
      charts.push(new uPlot(options(width, spec.height, i === data.charts.length - 1, spec, i), [x].concat(spec.series.map((s) => s.values)), div));
    });
  }

  const select = document.getElementById("zoom");
  const parts = [].concat(data.stages.map((s) => ["stage " + s.name, s]), data.faults.map((f) => ["fault " + f.name, f]), data.backs.map((b) => [b.name, b]));
  parts.forEach(([name], i) => { const o = element("option", "", name); o.value = String(i); select.append(o); });
  function choose(value) {
    let own = select.querySelector("option[value=own]");
    if (value === "own" && !own) { own = element("option", "", "a part"); own.value = "own"; select.append(own); }
    select.value = value;
  }
  select.addEventListener("change", () => {
    const part = parts[Number(select.value)];
    if (select.value === "" ) zoom(whole.min, whole.max);
    else if (part) { const margin = Math.max(1, (part[1].to - part[1].from) * 0.15); zoom(part[1].from - margin, part[1].to + margin); }
  });

  let waiting = 0, wide = host.clientWidth;
  new ResizeObserver(() => {
    if (host.clientWidth === wide) return;
    wide = host.clientWidth;
    clearTimeout(waiting); waiting = setTimeout(build, 60);
  }).observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  matchMedia("print").addEventListener("change", build);
  build();
})();
