// SPDX-License-Identifier: Apache-2.0
// What is wrong with the page as it is shown now, in sentences; given least letters, least contrast, width.
(function ([leastLetters, leastContrast, width]) {
  const wrong = [];
  const say = (sentence) => { if (wrong.length < 60) wrong.push(sentence); };
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && element.checkVisibility();
  };
  const words = (element) => JSON.stringify(element.textContent.trim().slice(0, 40));
  const colour = (text) => {
    const parts = text.match(/[\d.]+/g).map(Number);
    return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const luminance = (rgb) => rgb
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const back = colour(getComputedStyle(e).backgroundColor);
      if (back.alpha > 0.99) return back.rgb;
    }
    return [255, 255, 255];
  };
  // Of letters in a figure: the filled shape that lies right below them, else the page.
  const below = (text, box) => {
    const stack = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    for (const e of stack) {
      if (e.tagName === 'text' || e.closest('svg') !== text.closest('svg')) continue;
      const style = getComputedStyle(e);
      if (!['rect', 'path'].includes(e.tagName) || style.fill === 'none') continue;
      return colour(style.fill).rgb;
    }
    return ground(text.closest('svg').parentElement);
  };

  if (document.scripts.length > 0) say('has a script');
  if (document.documentElement.scrollWidth > width) {
    say(`is ${document.documentElement.scrollWidth} px wide, want ${width}`);
    for (const e of document.querySelectorAll('body *')) {
      if (e.closest('.scroll') && !e.matches('.scroll')) continue;
      if (e.getBoundingClientRect().right > width + 1) { say(`<${e.tagName}> sticks out: ${words(e)}`); break; }
    }
  }

  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || !shown(e)) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e);
    if (parseFloat(style.fontSize) < (matchMedia('print').matches ? 10 : leastLetters)) {
      say(`letters of ${style.fontSize}: ${words(e)}`);
    }
    const ratio = contrast(colour(style.color).rgb, ground(e));
    if (ratio < leastContrast) say(`contrast ${ratio.toFixed(2)}: ${words(e)}`);
  }

  for (const figure of document.querySelectorAll('figure')) {
    const svgs = [...figure.querySelectorAll('svg')].filter(shown);
    if (figure.querySelector('.none')) continue;
    if (svgs.length !== 1) { say(`${figure.id}: ${svgs.length} figures are shown, want 1`); continue; }
    const svg = svgs[0];
    const names = (svg.getAttribute('aria-labelledby') || '').split(' ')
      .map((id) => document.getElementById(id)?.textContent || '');
    if (svg.getAttribute('role') !== 'img' || names.length !== 2 || names.some((n) => !n)) {
      say(`${figure.id}: no name or description`);
    }
    if (!figure.querySelector('table tbody tr')) say(`${figure.id}: no table`);
    const frame = svg.getBoundingClientRect();
    if (frame.right > width + 0.5) say(`${figure.id}: cut off at the right`);
    const scale = frame.width / svg.viewBox.baseVal.width;
    svg.scrollIntoView({ block: 'start' });
    const texts = [...svg.querySelectorAll('text')].filter((t) => t.textContent);
    const boxes = [];
    for (const text of texts) {
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < (matchMedia('print').matches ? 10 : leastLetters)) {
        say(`${figure.id}: letters of ${size.toFixed(1)} px: ${words(text)}`);
      }
      let box = text.getBoundingClientRect();
      if (box.bottom > innerHeight || box.top < 0) {
        text.scrollIntoView({ block: 'center' });
        box = text.getBoundingClientRect();
      }
      const ratio = contrast(colour(getComputedStyle(text).fill).rgb, below(text, box));
      if (ratio < leastContrast) say(`${figure.id}: contrast ${ratio.toFixed(2)}: ${words(text)}`);
      const here = text.getBBox();
      const view = svg.viewBox.baseVal;
      if (here.x < -1 || here.x + here.width > view.width + 1 || here.y < -2 ||
          here.y + here.height > view.height + 3) {
        say(`${figure.id}: letters cut off: ${words(text)} at ${here.x.toFixed(0)} to ${(here.x + here.width).toFixed(0)} of ${view.width}`);
      }
      boxes.push([here, text]);
    }
    for (let i = 0; i < boxes.length; ++i) {
      for (let j = i + 1; j < boxes.length; ++j) {
        const [a, b] = [boxes[i][0], boxes[j][0]];
        const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
        const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
        if (wide > 1 && high > 4) {
          say(`${figure.id}: ${words(boxes[i][1])} over ${words(boxes[j][1])}`);
        }
      }
    }
  }
  return wrong;
})
