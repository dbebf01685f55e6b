"use strict";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const HOUR = 360;
let points = [];
let owners = new Map(); // partition -> instance
let status = null;
let state = "";

// Requests carry the token in a header: an address would end up in logs.
function ask(path, signal) {
  const token = sessionStorage.getItem("token");
  return fetch(path, { signal, headers: token ? { Authorization: "Bearer " + token } : {} }).then((answer) => {
    if (answer.status === 401) {
      wantToken(token !== null);
      throw new Unauthorized();
    }
    return answer;
  });
}
class Unauthorized extends Error {}

function wantToken(wrong) {
  if (!$("token").hidden && !wrong) return;
  $("token").hidden = false;
  $("main").hidden = true;
  $("token-says").textContent = wrong ? "That token is not the one." : "";
  say("a token is needed", false);
  $("token-value").focus();
}

function say(text, good) {
  const badge = $("health");
  if (badge.textContent !== text) badge.textContent = text;
  badge.className = "badge " + (good ? "good" : "bad");
}

// element makes one with a text or children. Nothing of a record's becomes markup.
function element(name, content, attributes) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  for (const c of [].concat(content)) e.append(c);
  return e;
}

const row = (cells) => element("tr", cells.map((c) => (c instanceof Node ? c : element("td", String(c)))));
const number = (v) => element("td", typeof v === "number" ? whole.format(v) : v, { class: "n" });

function replace(id, children) {
  $(id).replaceChildren(...children);
}

function seconds(s) {
  if (s <= 0) return "0 s";
  return s < 120 ? s.toFixed(s < 10 ? 1 : 0) + " s" : Math.round(s / 60) + " min";
}

const ms = (v) => (v < 0 ? "–" : v < 10 ? v.toFixed(1) : whole.format(Math.round(v)));

// A chart of the hour: one column for each point, the newest at the right, empty where the process did not run.
function chart(id, title, unit, series) {
  const svg = $(id);
  const top = Math.max(1, ...series.flatMap((s) => points.map(s.of)));
  const ns = "http://www.w3.org/2000/svg";
  const parts = [];
  const base = document.createElementNS(ns, "line");
  for (const [k, v] of Object.entries({ x1: 0, x2: HOUR, y1: 79, y2: 79 })) base.setAttribute(k, v);
  parts.push(base);
  for (const s of series) {
    let d = "";
    let gap = true;
    points.forEach((p, i) => {
      const v = s.of(p);
      if (v < 0) {
        gap = true; // nothing was committed
        return;
      }
      d += (gap ? "M" : "L") + (HOUR - points.length + i + 0.5) + " " + (79 - (77 * v) / top).toFixed(1) + (gap ? "h.01" : "");
      gap = false;
    });
    const path = document.createElementNS(ns, "path");
    path.setAttribute("d", d || "M0 0");
    if (s.second) path.setAttribute("class", "second");
    parts.push(path);
  }
  svg.replaceChildren(...parts);
  $(id + "-top").textContent = "most in the hour: " + whole.format(Math.round(top));
  const told = series.map((s) => {
    const all = points.map(s.of).filter((v) => v >= 0);
    if (!all.length) return s.name + ": nothing yet";
    return `${s.name}: now ${whole.format(Math.round(all.at(-1)))}, least ${whole.format(Math.round(Math.min(...all)))}, most ${whole.format(Math.round(Math.max(...all)))} ${unit}`;
  });
  svg.setAttribute("aria-label", `${title} over the last hour. ${told.join("; ")}`);
}

function charts() {
  chart("rate-chart", "Records a second", "records a second", [{ name: "rate", of: (p) => p.rate }]);
  chart("time-chart", "Time of a commit", "milliseconds", [
    { name: "99 of 100", of: (p) => p.p99, second: true },
    { name: "median", of: (p) => p.p50 },
  ]);
  chart("lag-chart", "Records to be read", "records", [{ name: "lag", of: (p) => p.lag }]);
}

function show(event) {
  status = event.status;
  if (event.hour.length || points.length === 0) {
    points = points.concat(event.hour).slice(-HOUR);
    charts();
  }
  $("rate").textContent = whole.format(Math.round(event.now.rate));
  $("p50").textContent = ms(event.now.p50);
  $("p99").textContent = ms(event.now.p99);
  $("lag").textContent = whole.format(event.now.lag);
  $("who").textContent = status.app ? `${status.app}, instance ${status.instance}` : "";
  document.title = `${status.ready ? "" : "not ready: "}${status.app || "Penstock"}`;
  say(status.ready ? "ready" : status.live ? "not ready" : "not live", status.ready);
  replace("reasons", status.reasons.map((r) => element("li", r)));
  const c = status.counts;
  replace("counts", [
    ["Records committed", c.records],
    ["Commits", c.commits],
    ["Transactions dropped", c.aborts],
    ["Dead letters", c.deadLetters],
    ["Timers fired", c.timersFired],
    ["Continuity violations", c.continuityViolations],
    ["Store on disk, MiB", Math.round(status.store.diskBytes / 1048576)],
  ].map(([k, v]) => element("div", [element("dt", k), element("dd", whole.format(v || 0))])));
  partitions();
  rejections();
}

function partitions() {
  const own = new Map(status.partitions.map((p) => [p.partition, p]));
  const ids = [...new Set([...own.keys(), ...owners.keys()])].sort((a, b) => a - b);
  replace("partitions", ids.map((id) => {
    const p = own.get(id);
    if (!p) return row([id, owners.get(id), "elsewhere", number("–"), number("–"), number("–"), "–", number("–")]);
    const inputs = p.inputs || [];
    const held = Math.max(0, ...inputs.map((i) => i.heldSeconds));
    const records = inputs.reduce((n, i) => n + i.heldRecords, 0);
    return row([
      id, `${status.instance} (this one)`, progress(p),
      number(inputs.map((i) => whole.format(i.position)).join(" / ") || "–"),
      number(inputs.reduce((n, i) => n + i.lag, 0)),
      number(seconds(Math.max(0, ...inputs.map((i) => i.behindSeconds)))),
      held > 0 ? `${seconds(held)}, ${whole.format(records)} records behind it` : "no",
      number(p.cache.entries),
    ]);
  }));
}

// progress is the state of an own partition, with a bar while its state is restored.
function progress(p) {
  if (p.state === "running") return "running";
  const target = (p.restore || []).reduce((n, r) => n + r.target, 0);
  const at = (p.restore || []).reduce((n, r) => n + Math.min(r.position, r.target), 0);
  const text = target > 0 ? `restoring, ${whole.format(at)} of ${whole.format(target)}` : "restoring";
  return element("td", [element("progress", [], { max: Math.max(1, target), value: at, "aria-label": text }), " " + text]);
}

function rejections() {
  const all = Object.entries(status.rejections || {}).sort((a, b) => b[1] - a[1]);
  $("reasons-table").hidden = all.length === 0;
  $("letters-says").textContent = all.length ? "Since this process started; penstock dead-letters list has all of them." : "None since this process started.";
  replace("rejections", all.map(([reason, n]) => row([reason, number(n)])));
}

async function follow() {
  for (;;) {
    try {
      points = [];
      const answer = await ask("api/v1/events");
      if (!answer.ok) throw new Error((await answer.text()).trim());
      $("token").hidden = true;
      $("main").hidden = false;
      configuration();
      await events(answer.body.getReader(), show);
      say("the process has ended", false);
    } catch (e) {
      if (e instanceof Unauthorized) return; // the form goes on from here
      say("no answer", false);
    }
    await new Promise((r) => setTimeout(r, 2000));
  }
}

// events reads a stream of server-sent events; the browser's own EventSource sends no header.
async function events(reader, each) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
      if (rest.startsWith("data: ")) each(JSON.parse(rest.slice(6, end)));
    }
  }
}

async function configuration() {
  const c = await (await ask("api/v1/config")).json();
  state = c.state;
  replace("settings", c.settings.map((s) => row([element("td", element("code", s.key)), element("td", element("code", s.value)), s.source])));
}

async function askOwners() {
  if (!$("token").hidden) return;
  try {
    const answer = await ask("api/v1/owners");
    const body = await answer.json();
    $("owners-says").textContent = answer.ok ? "" : "Who owns the others is not known: " + body.error;
    if (answer.ok) {
      owners = new Map(body.flatMap((o) => (o.partitions || []).map((p) => [p, `${o.instance} at ${o.host}`])));
      if (status) partitions();
    }
  } catch (e) {
    // the stream says that there is no answer
  }
}

async function search(id) {
  const found = $("found");
  found.replaceChildren(element("p", "asking…"));
  const [value, updates] = await Promise.all([
    ask(`api/v1/state/${encodeURIComponent(state)}?encoding=base64&key=${encodeURIComponent(id)}`).then(async (a) => ({ code: a.status, body: await a.json() })),
    ask(`api/v1/updates?session=${encodeURIComponent(id)}`).then(async (a) => ({ code: a.status, body: await a.json() })),
  ]);
  found.replaceChildren(balance(id, value), ...history(updates));
}

function balance(id, { code, body }) {
  if (code === 200) return element("p", [element("code", id), " is open; balance ", element("b", amount(body)), ` (partition ${body.partition}, ${body.instance})`]);
  if (code === 404 && !body.error) return element("p", [element("code", id), ` is not open (partition ${body.partition}, ${body.instance})`]);
  return element("p", "No answer at present: " + body.error, { class: "bad" });
}

// amount is the sum as it was written: a number of a script would be rounded.
function amount(body) {
  const text = new TextDecoder().decode(Uint8Array.from(atob(body.valueBase64), (c) => c.charCodeAt(0)));
  const sum = /^\{"totalSum":([^,}]*)\}$/.exec(text);
  return sum ? sum[1] : text;
}

function history({ code, body }) {
  if (code !== 200) return [element("p", "Its updates cannot be read: " + body.error, { class: "bad" })];
  if (!body || !body.length) return [element("p", "No update among the last records of its partition.")];
  const head = element("thead", element("tr", ["Time", "Offset", "Update"].map((h) => element("th", h, { scope: "col" }))));
  const rows = body.map((u) => row([new Date(u.timestamp).toISOString().replace("T", " ").slice(0, 23), number(u.offset), element("td", element("code", u.value))]));
  return [element("h3", "Latest updates"), element("div", element("table", [head, element("tbody", rows)]), { class: "wide", tabindex: "0", role: "region", "aria-label": "Latest updates" })];
}

$("token").addEventListener("submit", (e) => {
  e.preventDefault();
  sessionStorage.setItem("token", $("token-value").value);
  $("token-value").value = "";
  follow();
});
$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  search($("session").value).catch((err) => $("found").replaceChildren(element("p", "No answer: " + err.message, { class: "bad" })));
});

follow();
askOwners();
setInterval(askOwners, 10000);
