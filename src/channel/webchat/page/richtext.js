// Text to nodes. Nothing here reads HTML: every character becomes text, and the only elements are
// the ones made below. Line breaks are left to the style sheet.

const LINK = /https?:\/\/[^\s<>"'`\u2028\u2029]+/giu;
const CLOSERS = { ')': '(', ']': '[', '}': '{' };

/** Visitors see what they typed; of it, only links come alive. */
export function plain(text) {
  const nodes = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = withoutTail(match[0]);
    const url = tryUrl(address);
    if (!url) continue;
    nodes.append(text.slice(end, match.index), link(url, address));
    end = match.index + address.length;
  }
  nodes.append(text.slice(end));
  return nodes;
}

/** Agents also write `code` and **strong** words. Anything unfinished stays as it is. */
export function marked(text) {
  const nodes = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(/```[^\n`]*\n([\s\S]+?)\n?```|`([^`\n]+)`|\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*/gu)) {
    const [whole, block, code, strong] = match;
    nodes.append(plain(text.slice(end, match.index)));
    if (block !== undefined) nodes.append(element('pre', block));
    else if (code !== undefined) nodes.append(element('code', code));
    else nodes.append(element('strong', plain(strong)));
    end = match.index + whole.length;
  }
  nodes.append(plain(text.slice(end)));
  return nodes;
}

function element(name, content) {
  const made = document.createElement(name);
  made.append(content);
  if (name === 'pre') made.tabIndex = 0;
  return made;
}

function link(url, text) {
  const made = element('a', text);
  made.href = url.href;
  made.target = '_blank';
  made.rel = 'noopener noreferrer nofollow';
  return made;
}

function tryUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url : null;
  } catch {
    return null;
  }
}

/** A full stop after an address ends the sentence; a bracket belongs to it only if it was opened in it. */
function withoutTail(address) {
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    const opener = CLOSERS[last];
    if (opener ? address.slice(0, end - 1).includes(opener) : !/[.,;:!?…*_~]/u.test(last)) break;
  }
  return address.slice(0, end);
}
