"use strict";
// One segment after another: it is played, looked at, and answered by a key. Nothing here decides anything: what is
// asked comes from the server, and what is answered is kept there before the next question is shown.

const ANSWERS = { y: "silent", n: "heard", "?": "can't tell" };
const AHEAD = 2; // sounds that are fetched before they are asked for
const byId = (id) => document.getElementById(id);
const state = { clips: [], at: 0, loop: true, alone: false, sounds: new Map(), player: null, busy: false };
let audio = null;

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Error(told.error || `the server says ${answer.status}`);
  }
  return answer;
}

function soundOf(number) {
  if (!state.sounds.has(number)) {
    const fetched = ask(`${state.audit}/${number}/sound.wav`)
      .then((answer) => answer.arrayBuffer())
      .then((content) => audio.decodeAudioData(content));
    fetched.catch(() => state.sounds.delete(number));
    state.sounds.set(number, fetched);
  }
  return state.sounds.get(number);
}

function stop() {
  if (state.player) state.player.node.stop();
  state.player = null;
  byId("head").hidden = true;
}

async function play() {
  stop();
  const at = state.at;
  const sound = await soundOf(at);
  await audio.resume(); // a browser lets a page be heard once a key was pressed
  if (at !== state.at || state.player) return;
  const node = audio.createBufferSource();
  const from = state.alone ? state.around_s : 0;
  const to = sound.duration - (state.alone ? state.around_s : 0);
  Object.assign(node, { buffer: sound, loop: state.loop, loopStart: from, loopEnd: to });
  node.connect(audio.destination);
  node.onended = () => { if (state.player && state.player.node === node) stop(); };
  if (state.loop) node.start(0, from);
  else node.start(0, from, to - from);
  state.player = { node, from, to, duration: sound.duration, began: audio.currentTime };
  byId("head").hidden = false;
  requestAnimationFrame(follow);
}

function follow() {
  const { player } = state;
  if (!player) return;
  const passed = (audio.currentTime - player.began) % (player.to - player.from);
  byId("head").style.left = `${(100 * (player.from + passed)) / player.duration}%`;
  requestAnimationFrame(follow);
}

function height(hz) {
  const [lowest, highest] = state.hz;
  return (100 * Math.log(Math.min(Math.max(hz, lowest), highest) / lowest)) / Math.log(highest / lowest);
}

function show(number) {
  stop();
  state.at = number;
  const clip = state.clips[number];
  byId("question").textContent = `Is ${clip.source} silent?`;
  byId("asking").hidden = false;
  byId("said").replaceChildren();
  byId("picture").querySelector("img").src = `${state.audit}/${number}/picture.png`;
  const side = `${(100 * state.around_s) / (clip.duration_s + 2 * state.around_s)}%`;
  byId("before").style.width = byId("after").style.width = side;
  const band = state.bands_hz[clip.source];
  byId("band").hidden = !band;
  if (band) Object.assign(byId("band").style, { bottom: `${height(band[0])}%`, top: `${100 - height(band[1])}%` });
  for (const [key, answer] of Object.entries(ANSWERS)) press(key, clip.answer === answer);
  const left = state.clips.filter((each) => !each.answer).length;
  say(`segment ${number + 1} of ${state.clips.length}, ${clip.duration_s.toFixed(1)} s; ${left} to answer`);
  for (const [kept] of state.sounds) if (Math.abs(kept - number) > AHEAD) state.sounds.delete(kept);
  for (let next = number; next <= number + AHEAD && next < state.clips.length; next += 1) soundOf(next);
}

function press(key, pressed) {
  document.querySelector(`button[data-key="${key}"]`).setAttribute("aria-pressed", String(pressed));
}

async function give(answer) {
  if (state.busy) return;
  state.busy = true;
  const number = state.at;
  try {
    await ask(`${state.audit}/answers`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-silentmix-token": state.token },
      body: JSON.stringify({ number, answer }),
    });
    state.clips[number].answer = answer;
    await next();
  } catch (error) {
    say(`not kept: ${error.message}`, true);
  } finally {
    state.busy = false;
  }
}

async function next() {
  const order = state.clips.map((_, index) => (state.at + 1 + index) % state.clips.length);
  const open = order.find((number) => !state.clips[number].answer);
  if (open === undefined) return conclude();
  const playing = state.player !== null;
  show(open);
  if (playing) await play();
}

async function conclude() {
  stop();
  byId("asking").hidden = true;
  byId("question").textContent = "All is answered";
  say(`use it: silentmix extract --audit ${state.audit}`);
  const rows = await (await ask(`${state.audit}/said`)).json();
  const table = document.createElement("table");
  const cells = (row, kind, texts) => {
    for (const text of texts) row.appendChild(document.createElement(kind)).textContent = text;
  };
  if (rows.length) cells(table.insertRow(), "th", Object.keys(rows[0]));
  const shown = (value) => (Number.isInteger(value) || typeof value === "string" ? value : value.toFixed(3));
  for (const row of rows) cells(table.insertRow(), "td", Object.values(row).map(shown));
  byId("said").replaceChildren(table);
  if (!rows.length) byId("said").textContent = "no source has an answer in each class of score";
}

function toggle(name, key) {
  state[name] = !state[name];
  press(key, state[name]);
  if (state.player) play().catch((error) => say(error.message, true));
}

function act(key) {
  if (key in ANSWERS) give(ANSWERS[key]);
  else if (key === " ") (state.player ? Promise.resolve(stop()) : play()).catch((error) => say(error.message, true));
  else if (key === "l") toggle("loop", "l");
  else if (key === "s") toggle("alone", "s");
  else if (key === "ArrowLeft" && state.at > 0) show(state.at - 1);
  else if (key === "ArrowRight" && state.at + 1 < state.clips.length) show(state.at + 1);
  else return false;
  return true;
}

async function begin() {
  audio = new AudioContext();
  Object.assign(state, await (await ask(`sample${location.search}`)).json());
  press("l", state.loop);
  press("s", state.alone);
  const first = state.clips.findIndex((clip) => !clip.answer);
  if (first < 0) await conclude();
  else show(first);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (act(key)) event.preventDefault();
  });
  for (const button of document.querySelectorAll("button[data-key]")) {
    button.addEventListener("click", () => { act(button.dataset.key); button.blur(); });
  }
  byId("picture").addEventListener("click", () => act(" "));
}

begin().catch((error) => say(error.message, true));
