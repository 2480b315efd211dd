"use strict";

// What was stored last night and what is predicted now, side by side. Everything is asked of
// twofold each time: GET .../answers/{key} for the first, POST .../answers with the changes for
// the second. Nothing is remembered here but what is on the page.

const MODEL = "/v1/models/churn";
const FIRST_FIELDS = [
  "contract", "tech_support", "online_security", "monthly_charges", "payment_method",
  "internet_service",
];
const AS_STORED = "as last night";
const TIMEOUT_S = 10;
const TYPING_S = 0.25;
const LOOK_AGAIN_S = 60; // Ages grow, and a new run may have been published.
const TRY_AGAIN_S = 3; // While a server is away.
const EQUAL_POINTS = 0.05; // Half of the last digit that is shown.

const AWAY = new Set(["page_away", "server_away"]);
const WORDS = {
  page_away: "The desk itself is away. Start it again: python run.py. This page tries again by itself.",
  server_away: "The twofold server is away: nothing is predicted until it is back. This page tries again by itself.",
  draining: "The twofold server is stopping. Look again in a moment.",
  overloaded: "The twofold server is too busy just now. Look again in a moment.",
  deadline_exceeded: "The twofold server took too long. Look again in a moment.",
};

const element = (id) => document.getElementById(id);
const part = (card, name) => element(card).querySelector(`[data-is="${name}"]`);
const percent = (chance) => `${(100 * chance).toFixed(1)}\u00a0%`;
const money = (amount) => Math.round(amount).toLocaleString("en-GB");

let fields = []; // Of the model's signature: what its inputs are.
let customer = null; // The id that is looked at.
let shown = null; // What is on the page: {stored, live, changes, wrong}, the last a field refused.
let turn = 0; // Answers to earlier questions than the last one are dropped.
let timer = 0;

class Refused extends Error {
  constructor(code, words, field) {
    super(words);
    this.code = code;
    this.field = field;
  }
}

// Asking

async function ask(path, body) {
  let response, answer;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(1000 * TIMEOUT_S),
    });
    answer = await response.json();
  } catch {
    throw new Refused("page_away");
  }
  if (!response.ok) throw new Refused(answer.code, answer.error, answer.field);
  return answer;
}

async function bothAnswers(key, changes) {
  const hours = Number(element("fresh").value);
  const path = `${MODEL}/answers`;
  const question = `${path}/${encodeURIComponent(key)}?max_age_s=${3600 * hours}`;
  const [stored, live] = await Promise.allSettled([ask(question), ask(path, { key, changes })]);
  return { stored, live };
}

async function renew(isSecond = false) {
  clearTimeout(timer);
  const mine = ++turn;
  if (customer === null) return;
  if (!checkNumbers(document.querySelectorAll('input[type="number"]'))) return showNoLive();
  const changes = changesOfForm();
  const both = await bothAnswers(customer, changes);
  if (mine !== turn) return;
  const [stored, live] = [both.stored.value, both.live.value];
  const isSwitched = stored && live && live.source === "live" && stored.as_of !== live.as_of;
  if (isSwitched && !isSecond) return renew(true); // A run was published between the two.
  showBoth(both, changes);
}

function again(seconds) {
  clearTimeout(timer);
  timer = setTimeout(() => (fields.length ? renew() : begin()), 1000 * seconds);
}

// Reading the form

function changesOfForm() {
  const changes = {};
  for (const field of fields) {
    const input = element(`field-${field.name}`);
    const isChanged = input.value !== "";
    input.parentElement.classList.toggle("changed", isChanged);
    if (isChanged) changes[field.name] = valueOf(field, input.value);
  }
  return changes;
}

function valueOf(field, text) {
  if (field.type === "bool") return text === "true";
  return field.type === "string" || field.type === "timestamp" ? text : Number(text);
}

function checkNumbers(inputs) {
  for (const input of inputs) showAt(input, problemOf(input));
  return ![...inputs].some(problemOf);
}

function problemOf(input) {
  // What a browser can't read as a number it gives as an empty value: that must not pass for one.
  const { badInput, rangeUnderflow, rangeOverflow } = input.validity;
  if (rangeOverflow) return `Type a number of at most ${input.max}.`;
  const isMissing = input.value === "" && !input.placeholder;
  return badInput || rangeUnderflow || isMissing ? "Type a number of at least 0." : "";
}

// Showing

function set(node, text) {
  // Only what differs is written: readers of the screen say what is written.
  if (node.textContent !== text) node.textContent = text;
}

function showAt(input, problem) {
  input.setAttribute("aria-invalid", String(Boolean(problem)));
  const said = element(`${input.id}-problem`);
  if (said) set(said, problem);
}

function shownAge(age_s) {
  for (const [unit_s, unit] of [[86400, "days"], [3600, "hours"], [60, "minutes"]]) {
    if (age_s >= 2 * unit_s) return `${Math.floor(age_s / unit_s)} ${unit}`;
  }
  return `${Math.floor(age_s)} seconds`;
}

function showBoth({ stored, live }, changes) {
  for (const field of fields) showAt(element(`field-${field.name}`), "");
  const refusals = [stored, live].filter((it) => it.reason).map((it) => it.reason);
  const away = refusals.find((refusal) => AWAY.has(refusal.code));
  set(element("problem"), away ? WORDS[away.code] : problemsOf(refusals));
  if (away) return showAway();
  showAt(element("key"), "");
  if (refusals.some((refusal) => refusal.code === "unknown_key")) {
    showAt(element("key"), `No customer ${customer} in last night's batch. Check the id.`);
    customer = shown = null;
    return hide(true);
  }
  shown = { stored: stored.value, live: live.value, changes, wrong: live.reason?.field };
  hide(false);
  set(element("whose"), `Customer ${customer}`);
  showStored(shown.stored);
  showLive(shown);
  showVerdict();
  again(LOOK_AGAIN_S);
}

function problemsOf(refusals) {
  const said = [];
  for (const refusal of refusals) {
    const input = refusal.field && element(`field-${refusal.field}`);
    if (input) {
      input.closest("details")?.setAttribute("open", "");
      showAt(input, refusal.message);
    } else if (refusal.code !== "unknown_key") {
      said.push(WORDS[refusal.code] ?? refusal.message);
    }
  }
  return [...new Set(said)].join(" ");
}

function hide(isHidden) {
  for (const id of ["answers", "changes", "offer"]) element(id).hidden = isHidden;
}

function showNoLive() {
  element("live").classList.add("old");
  showCard("live", undefined);
  set(part("live", "source"), "");
  set(part("live", "difference"), "not known");
  set(element("verdict"), "");
}

function showAway() {
  again(TRY_AGAIN_S);
  if (!shown) return;
  element("stored").classList.add("old");
  const fresh = part("stored", "fresh");
  fresh.className = "badge bad";
  set(fresh, "as last seen");
  showNoLive();
}

function showCard(card, answer) {
  set(part(card, "chance"), answer ? percent(answer.prediction) : "–");
  set(part(card, "version"), answer ? answer.version : "–");
  showBar(card, answer);
}

function showBar(card, answer) {
  const bar = part(card, "bar");
  bar.style.width = answer ? `${100 * answer.prediction}%` : "0";
  bar.classList.toggle("above", Boolean(answer) && answer.prediction > limit());
}

function showStored(answer) {
  element("stored").classList.remove("old");
  showCard("stored", answer);
  const fresh = part("stored", "fresh");
  fresh.className = answer?.fresh ? "badge" : "badge bad";
  set(fresh, !answer ? "none" : answer.fresh ? "fresh" : "stale");
  set(part("stored", "age"), answer ? shownAge(answer.age_s) : "–");
  const time = part("stored", "as_of");
  time.dateTime = answer ? answer.as_of : "";
  const how = { dateStyle: "medium", timeStyle: "short" };
  set(time, answer ? new Date(answer.as_of).toLocaleString("en-GB", how) : "–");
  set(part("stored", "run"), answer?.run_id ?? "–");
}

function showLive({ stored, live, changes }) {
  element("live").classList.remove("old");
  const isLive = live?.source === "live";
  showCard("live", isLive ? live : undefined);
  const source = part("live", "source");
  source.className = isLive ? "badge" : "badge bad";
  // What is stored answers in the place of a live prediction that failed, and says why.
  set(source, isLive ? "live" : live?.why || "none");
  const names = Object.keys(changes).map(wordOf);
  set(part("live", "changed"), names.join(", ").toLowerCase() || "nothing");
  set(part("live", "difference"), isLive && stored ? differenceOf(stored, live) : "not known");
}

function differenceOf(stored, live) {
  const points = 100 * (live.prediction - stored.prediction);
  const other = stored.version === live.version ? "" : ", by another version";
  if (Math.abs(points) < EQUAL_POINTS) return `the same${other}`;
  return `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points${other}`;
}

const limit = () => Number(element("limit").value) / 100;

function showVerdict() {
  if (!checkNumbers([element("limit"), element("worth")]) || !shown) return;
  showBar("stored", shown.stored);
  const live = shown.live?.source === "live" ? shown.live : undefined;
  showBar("live", live);
  const mend = shown.wrong ? `Nothing is predicted like this. Mend ${wordOf(shown.wrong)}.` : "";
  set(element("verdict"), live ? [stale(), advice(live), saving(live)].join(" ").trim() : mend);
}

function stale() {
  const stored = shown.stored;
  if (!stored || stored.fresh) return "";
  return `Stale: what is known of the customer is ${shownAge(stored.age_s)} old, live or not.`;
}

function advice(live) {
  const before = shown.stored?.prediction ?? live.prediction;
  const bound = `${Number(element("limit").value)}\u00a0%`;
  const isChanged = Object.keys(shown.changes).length > 0;
  if (live.prediction > limit()) {
    return isChanged && before > limit()
      ? `Not enough yet: ${percent(live.prediction)} is still above ${bound}.`
      : `Make an offer: ${percent(live.prediction)} is above ${bound}.`;
  }
  return before > limit()
    ? `This would do: from ${percent(before)} to ${percent(live.prediction)}.`
    : `No offer needed: ${percent(live.prediction)} is not above ${bound}.`;
}

function saving(live) {
  if (!shown.stored || !Object.keys(shown.changes).length) return "";
  const less = shown.stored.prediction - live.prediction;
  const amount = Math.abs(less) * Number(element("worth").value);
  if (100 * Math.abs(less) < EQUAL_POINTS) return "It would change nothing.";
  return `It would ${less > 0 ? "save" : "lose"} about ${money(amount)} a year.`;
}

// The form, made from the model's signature

function wordOf(name) {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function inputOf(field) {
  const values = field.type === "bool" ? ["true", "false"] : field.categories;
  if (values) {
    const select = document.createElement("select");
    select.append(new Option(AS_STORED, ""), ...values.map((value) => new Option(value, value)));
    return select;
  }
  const input = document.createElement("input");
  input.placeholder = AS_STORED;
  input.autocomplete = "off";
  if (field.type === "string" || field.type === "timestamp") return input;
  input.type = "number";
  input.min = "0";
  input.step = field.type === "int64" ? "1" : "any";
  return input;
}

function makeField(field) {
  const box = document.createElement("div");
  const label = document.createElement("label");
  const input = inputOf(field);
  const problem = document.createElement("p");
  box.className = "field";
  input.id = `field-${field.name}`;
  input.setAttribute("aria-describedby", `${input.id}-problem`);
  label.htmlFor = input.id;
  label.textContent = wordOf(field.name);
  problem.id = `${input.id}-problem`;
  problem.className = "problem";
  problem.setAttribute("aria-live", "polite");
  box.append(label, input, problem);
  return box;
}

async function begin() {
  let model;
  try {
    model = await ask(MODEL);
  } catch (refusal) {
    set(element("problem"), WORDS[refusal.code] ?? refusal.message);
    return again(TRY_AGAIN_S);
  }
  set(element("problem"), "");
  fields = model.inputs.filter((field) => field.type !== "tensor");
  const place = (field) => FIRST_FIELDS.indexOf(field.name);
  const first = fields.filter((field) => place(field) >= 0).sort((a, b) => place(a) - place(b));
  element("first-fields").replaceChildren(...first.map(makeField));
  const more = fields.filter((field) => place(field) < 0);
  element("more-fields").replaceChildren(...more.map(makeField));
  renew();
}

// What an agent does

let typing = 0;

element("look").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = element("key").value.trim();
  showAt(element("key"), key ? "" : "Type the id of a customer.");
  if (!key) return;
  if (key !== customer) {
    // Nothing of somebody else stays beside the new id, neither answers nor what was tried.
    shown = null;
    hide(true);
    element("changes").reset();
  }
  clearTimeout(typing); // The reset has asked for a look, too.
  customer = key;
  fields.length ? renew() : begin();
});

function renewSoon(seconds) {
  clearTimeout(typing);
  typing = setTimeout(() => renew(), 1000 * seconds);
}

element("fresh").addEventListener("input", () => renewSoon(TYPING_S));
element("changes").addEventListener("input", () => renewSoon(TYPING_S));
element("changes").addEventListener("change", () => renewSoon(0)); // A choice, or a field left.
element("offer").addEventListener("input", showVerdict);
for (const id of ["changes", "offer"]) {
  element(id).addEventListener("submit", (event) => event.preventDefault());
}
// When a reset is told of, the fields aren't empty yet.
element("changes").addEventListener("reset", () => renewSoon(0));

begin();
