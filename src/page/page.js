// Pages work without this. With it they stay up to date: a part that says `data-refresh="SECONDS"` is fetched again
// and replaced when it has changed, unless somebody is using it or nobody looks.

const policy = globalThis.trustedTypes?.createPolicy('page', { createHTML: (text) => text });

function parse(text) {
  return new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, 'text/html');
}

function isInUse(part) {
  const focused = document.activeElement;
  const isTyping = focused instanceof HTMLElement && part.contains(focused) && focused.matches('input, select, textarea, button, summary');
  return isTyping || part.querySelector('details[open]') !== null || !document.getSelection().isCollapsed;
}

function toEnd(part) {
  for (const log of part.querySelectorAll('.log')) log.scrollTop = log.scrollHeight;
}

async function refresh(part) {
  if (document.hidden || isInUse(part)) return;
  const response = await fetch(location.href, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(10_000) });
  // Elsewhere is the door: the session is over.
  if (response.redirected) return location.reload();
  if (!response.ok) return;
  const next = parse(await response.text()).querySelector('[data-refresh]');
  if (!next || next.isEqualNode(part) || isInUse(part)) return;
  const log = part.querySelector('.log');
  const top = log && log.scrollHeight - log.scrollTop - log.clientHeight > 80 ? log.scrollTop : null;
  part.replaceChildren(...next.childNodes);
  if (top === null) toEnd(part);
  else part.querySelector('.log').scrollTop = top;
}

for (const part of document.querySelectorAll('[data-refresh]')) {
  toEnd(part);
  const again = async () => {
    // What could not be fetched now is fetched the next time.
    await refresh(part).catch(() => {});
    setTimeout(again, part.dataset.refresh * 1000);
  };
  setTimeout(again, part.dataset.refresh * 1000);
}

// A text may be taken from a file instead of being typed: `data-upload="TEXT NAME"` names the fields to fill.
for (const part of document.querySelectorAll('[data-upload]')) {
  const [text, name] = part.dataset.upload.split(' ').map((id) => document.getElementById(id));
  part.hidden = false;
  part.querySelector('input').addEventListener('change', async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    text.value = await file.text();
    if (!name.value) name.value = file.name;
    text.focus();
  });
}
