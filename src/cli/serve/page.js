// What the page shows is asked for: the next picture when the one before is seen, everything else as it comes.
'use strict';

const KEPT = 240; // frames in the chart
const PATIENCE = 15000; // milliseconds without a sign of life until the connection counts as lost

const at = id => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';

let latencies = []; // [frame, milliseconds, [milliseconds of each part]]
let newest = null; // the newest update with a frame
let loading = false;
let shown = -1;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function row(head, cells, key) {
  const made = document.createElement('tr');
  const th = element('th');
  th.scope = 'row';
  if (key) th.append(element('span', '', 'key ' + key));
  th.append(head);
  made.append(th, ...cells.map(text => element('td', text)));
  return made;
}

function say(text, wrong) {
  const status = at('status');
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle('wrong', Boolean(wrong));
}

// ---- the picture ----

function fetchPicture() {
  if (loading || !newest || newest.frame.id === shown) return;
  loading = true;
  const update = newest;
  const picture = new Image();
  const done = () => { loading = false; };
  picture.alt = 'Picture ' + update.frame.id + ' with a heat map of its anomaly score, '
    + count(update.obstacles.length, 'obstacle');
  picture.width = update.frame.width;
  picture.height = update.frame.height;
  picture.onload = () => {
    // A picture takes the place of the one before when it is there: nothing flickers.
    at('picture').replaceChildren(picture);
    shown = update.frame.id;
    showObstacles(update);
    done();
    fetchPicture();
  };
  picture.onerror = () => setTimeout(() => { done(); fetchPicture(); }, 1000);
  picture.src = '/frame.jpg?id=' + update.frame.id;
}

function count(number, noun) {
  return number + ' ' + noun + (number === 1 ? '' : 's');
}

function showObstacles(update) {
  const frame = update.frame;
  at('facts').textContent = 'Frame ' + frame.id + ', ' + frame.timestamp_s.toFixed(2) + ' s, '
    + frame.width + ' × ' + frame.height + ' pixels.';
  const rows = update.obstacles.map(found => row('#' + found.id, [
    found.max_score.toFixed(2), found.mean_score.toFixed(2), String(found.area), found.surroundings ?? '']));
  at('list').tBodies[0].replaceChildren(...rows);
  at('list').hidden = rows.length === 0;
  at('none').hidden = rows.length > 0;
}

// ---- the latencies ----

function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

function milliseconds(value) {
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toFixed(3);
}

function statistics(values) {
  const sorted = values.sort((a, b) => a - b);
  return [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted[sorted.length - 1]].map(milliseconds);
}

function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The smallest of 1, 2, 5, 10, 20, ... that is not below a quarter of `top`: the distance of the grid's lines.
function distance(top) {
  const power = 10 ** Math.floor(Math.log10(top / 4));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= top / 4 * 0.999) ?? 10 * power;
}

function showLatencies(parts) {
  if (latencies.length === 0) return;
  const [width, height, left, bottom, top] = [600, 220, 48, 22, 8];
  const highest = Math.max(...latencies.map(([, total, each]) => Math.max(total, each.reduce((a, b) => a + b, 0))), 1e-3);
  const step = distance(highest);
  const end = Math.ceil(highest / step) * step;
  const x = place => left + (width - left - 4) * (latencies.length < 2 ? 0.5 : place / (latencies.length - 1));
  const y = value => height - bottom - (height - bottom - top) * value / end;

  const svg = drawn('svg', { viewBox: '0 0 ' + width + ' ' + height, role: 'img' });
  svg.append(drawn('title', {}, 'Latency of each of the newest ' + count(latencies.length, 'frame')
    + ' in milliseconds, by part'));
  for (let value = 0; value <= end + step / 2; value += step) {
    svg.append(drawn('line', { class: 'grid', x1: left, x2: width - 4, y1: y(value), y2: y(value) }));
    svg.append(drawn('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, String(+value.toPrecision(3))));
  }
  const floor = latencies.map(() => 0);
  parts.forEach((part, index) => {
    const roof = floor.map((low, place) => low + latencies[place][2][index]);
    const points = [...roof.map((value, place) => [x(place), y(value)]),
      ...floor.map((value, place) => [x(place), y(value)]).reverse()];
    svg.append(drawn('polygon', { class: 'part part-' + index,
      points: points.map(([px, py]) => px.toFixed(1) + ',' + py.toFixed(1)).join(' ') }));
    roof.forEach((value, place) => { floor[place] = value; });
  });
  svg.append(drawn('polyline', { class: 'total',
    points: latencies.map(([, total], place) => x(place).toFixed(1) + ',' + y(total).toFixed(1)).join(' ') }));
  svg.append(drawn('text', { x: left, y: height - 6 }, 'frame ' + latencies[0][0]));
  svg.append(drawn('text', { x: width - 4, y: height - 6, 'text-anchor': 'end' },
    'frame ' + latencies[latencies.length - 1][0]));
  at('chart').replaceChildren(svg);

  const rows = parts.map((part, index) =>
    row(part, statistics(latencies.map(([, , each]) => each[index])), 'part-' + index));
  rows.push(row('whole frame', statistics(latencies.map(([, total]) => total))));
  at('parts').tBodies[0].replaceChildren(...rows);
  at('count').textContent = latencies.length;
}

// ---- the connection ----

let lost = 0;

function alive() {
  clearTimeout(lost);
  lost = setTimeout(() => say('Connection lost: nothing has come for a while.', true), PATIENCE);
}

const events = new EventSource('/events');
// The browser connects again by itself, and is then told everything again.
events.onopen = () => { latencies = []; };
events.onerror = () => { clearTimeout(lost); say('Connection lost: trying again.', true); };
events.onmessage = message => {
  const update = JSON.parse(message.data);
  latencies = latencies.concat(update.latencies).slice(-KEPT);
  if (update.frame) newest = update;
  const { delivered, left_out: leftOut, missed_deadlines: missed } = update.frames;
  let text = count(delivered, 'frame');
  if (leftOut) text += ', ' + leftOut + ' left out';
  if (missed) text += ', ' + missed + ' too late';
  if (update.ended) say('The source has ended: ' + text + '.');
  else say(update.frame ? 'Live: ' + text + '.' : 'Waiting for the first picture.');
  alive();
  showLatencies(update.parts);
  fetchPicture();
};
