// Appended to a copy of the page by report_page.sh: looks at it as a reader would and writes what it finds.
(function () {
  'use strict';
  var bad = [], errors = window.lobErrors;
  function check(ok, text) { if (!ok) bad.push(text); }

  // Sorting: every column of every table, up and down.
  function key(cell, number) { return number ? parseFloat(cell.textContent.replace('<', '')) : cell.textContent; }
  function ordered(values, number, up) {
    var v = number ? values.filter(function (x) { return !isNaN(x); }) : values;
    for (var i = 1; i < v.length; i++) {
      var d = number ? v[i] - v[i - 1] : v[i].localeCompare(v[i - 1]);
      if (up ? d < 0 : d > 0) return false;
    }
    return true;
  }
  var sorted = 0;
  document.querySelectorAll('table.sortable').forEach(function (t) {
    var name = t.dataset.csv, rows = t.tBodies[0].rows.length;
    t.querySelectorAll('th button').forEach(function (b, i) {
      [true, false].forEach(function (up) {
        b.click();
        var th = b.parentNode, number = th.className === 'n';
        check(th.getAttribute('aria-sort') === (up ? 'ascending' : 'descending'), name + ': aria-sort of ' + i);
        var v = Array.prototype.map.call(t.tBodies[0].rows, function (r) { return key(r.cells[i], number); });
        check(ordered(v, number, up), name + ': column ' + i + ' does not sort');
        check(v.length === rows, name + ': rows lost by sorting');
        sorted++;
      });
    });
  });
  check(sorted > 50, 'only ' + sorted + ' sorts');

  // Look-up.
  var all = JSON.parse(document.getElementById('patients-data').textContent);
  var input = document.getElementById('patient'), body = document.getElementById('patient-rows');
  input.value = all[3][0];
  input.dispatchEvent(new Event('input'));
  check(body.rows.length >= 1 && body.rows[0].cells[0].textContent === all[3][0], 'look-up does not find a patient');
  input.value = 'no such patient';
  input.dispatchEvent(new Event('input'));
  check(body.rows.length === 0, 'look-up finds nobody');

  // Figures: a name, a description, something drawn, its n in words, and inside its frame.
  var figures = document.querySelectorAll('figure');
  figures.forEach(function (f) {
    var svg = f.querySelector('svg'), title = svg && svg.querySelector('title'), name = title ? title.textContent : '?';
    check(svg && svg.getAttribute('role') === 'img' && title && svg.querySelector('desc'), 'figure without a name');
    check(svg.querySelectorAll('path,rect,polygon,circle').length > 0, name + ': nothing drawn');
    check(/\bn\b/.test(f.textContent), name + ': no n');
    check(f.querySelector('figcaption .source'), name + ': no data file named');
    var box = svg.viewBox.baseVal;
    svg.querySelectorAll('text').forEach(function (t) {
      var b = t.getBBox();
      if (t.getAttribute('transform')) return;
      check(b.x >= -0.5 && b.x + b.width <= box.width + 0.5 && b.y >= -0.5 && b.y + b.height <= box.height + 0.5,
            name + ': clipped text ' + t.textContent);
    });
    var boxes = Array.prototype.filter.call(svg.querySelectorAll('text'), function (t) { return !t.getAttribute('transform'); })
      .map(function (t) { return { b: t.getBBox(), t: t.textContent }; });
    boxes.forEach(function (p, i) {
      boxes.slice(i + 1).forEach(function (q) {
        var w = Math.min(p.b.x + p.b.width, q.b.x + q.b.width) - Math.max(p.b.x, q.b.x);
        var h = Math.min(p.b.y + p.b.height, q.b.y + q.b.height) - Math.max(p.b.y, q.b.y);
        check(!(w > 1 && h > 4), name + ': "' + p.t + '" over "' + q.t + '"');
      });
    });
    var shown = svg.getBoundingClientRect().width / box.width * 13;
    check(shown >= 8.5, name + ': letters of ' + shown.toFixed(1) + ' px');
  });

  // Contrast of every text, WCAG 2: at least 4.5.
  function rgb(c) { return c.match(/[\d.]+/g).map(Number); }
  function light(c) {
    var v = c.slice(0, 3).map(function (x) { x /= 255; return x <= 0.03928 ? x / 12.92 : Math.pow((x + 0.055) / 1.055, 2.4); });
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
  }
  function ground(e) {
    for (; e; e = e.parentElement) {
      var c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  }
  var least = 21, texts = 0;
  document.querySelectorAll('body *').forEach(function (e) {
    if (e.tagName === 'SCRIPT' || e.tagName === 'title' || e.tagName === 'desc') return;
    var own = Array.prototype.some.call(e.childNodes, function (n) { return n.nodeType === 3 && n.textContent.trim(); });
    if (!own) return;
    var s = getComputedStyle(e), a = light(rgb(e.tagName === 'text' ? s.fill : s.color)), b = light(ground(e));
    var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts++;
    if (ratio < least) least = ratio;
    check(ratio >= 4.5, 'contrast ' + ratio.toFixed(2) + ': ' + e.textContent.slice(0, 40));
  });
  check(texts > 200, 'only ' + texts + ' texts');

  // Headings in order, links that lead somewhere, nothing wider than the window, nothing fetched.
  var level = 0;
  document.querySelectorAll('h1,h2,h3,h4').forEach(function (h) {
    var l = Number(h.tagName[1]);
    check(l <= level + 1, 'heading ' + h.textContent + ' skips a level');
    level = l;
  });
  document.querySelectorAll('a[href]').forEach(function (a) {
    var to = a.getAttribute('href');
    check(to[0] === '#' && document.getElementById(to.slice(1)), 'link to ' + to);
  });
  var ids = Array.prototype.map.call(document.querySelectorAll('[id]'), function (e) { return e.id; });
  check(new Set(ids).size === ids.length, 'an id stands twice');
  check(document.documentElement.scrollWidth <= window.innerWidth, 'the page is ' + document.documentElement.scrollWidth +
        ' px wide in a window of ' + window.innerWidth);
  check(performance.getEntriesByType('resource').length === 0, 'something was fetched');
  check(errors.length === 0, 'errors: ' + errors.join('; '));
  var out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = (bad.length ? 'BAD ' + bad.length + '\n' + bad.slice(0, 40).join('\n') : 'GOOD') + '\nfigures ' + figures.length +
    ' sorts ' + sorted + ' texts ' + texts + ' least contrast ' + least.toFixed(2) + ' ground ' +
    getComputedStyle(document.body).backgroundColor + ' width ' + window.innerWidth + ' END';
  document.body.appendChild(out);
})();
