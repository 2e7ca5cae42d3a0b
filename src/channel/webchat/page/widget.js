// The launcher for other sites: <script src="https://…/chat/<entry>/widget.js" async></script>
// It adds one button, and the chat in a frame once the button was pressed. It reads nothing of the
// site and the site cannot read the chat; they exchange "opened", "close", "unread" and "ready".

((settings) => {
  const source = document.currentScript?.src;
  if (!source) return;
  const origin = new URL(source).origin;
  const address = new URL(settings.base, origin).href;
  const NAME = 'frontdesk-chat';
  if ([...document.querySelectorAll(NAME)].some((other) => other.dataset.address === address)) return;

  const host = document.createElement(NAME);
  host.dataset.address = address;
  // A shadow tree with its own sheet: the site's style does not reach in, ours does not reach out,
  // and a policy against inline styles does not apply.
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { all: initial; color-scheme: light dark; }
    .launcher, .panel { position: fixed; inset-inline-end: max(20px, env(safe-area-inset-right)); z-index: 2147483000; }
    .launcher {
      inset-block-end: max(20px, env(safe-area-inset-bottom)); inline-size: 60px; block-size: 60px; padding: 0;
      border: 0; border-radius: 50%; background: ${settings.accent}; color: ${settings.onAccent}; cursor: pointer;
      box-shadow: 0 1px 2px rgb(15 18 28 / 24%), 0 8px 24px rgb(15 18 28 / 22%);
      transition: transform 160ms ease, box-shadow 160ms ease;
    }
    .launcher:hover { transform: translateY(-2px); box-shadow: 0 2px 4px rgb(15 18 28 / 24%), 0 12px 32px rgb(15 18 28 / 26%); }
    .launcher:active { transform: none; }
    .launcher:focus-visible { outline: 3px solid #fff; box-shadow: 0 0 0 6px #10131c; }
    svg { display: block; inline-size: 28px; block-size: 28px; margin: auto; fill: none; stroke: currentcolor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
    .launcher .cross, .launcher[aria-expanded=true] .bubble { display: none; }
    .launcher[aria-expanded=true] .cross { display: block; }
    .badge {
      position: absolute; inset-block-start: 2px; inset-inline-end: 2px; inline-size: 14px; block-size: 14px;
      border: 2px solid #fff; border-radius: 50%; background: #c62828;
    }
    .panel {
      inset-block-end: calc(max(20px, env(safe-area-inset-bottom)) + 76px);
      inline-size: min(400px, calc(100vw - 40px)); block-size: min(680px, calc(100dvh - 132px));
      overflow: hidden; border-radius: 18px; background: canvas;
      box-shadow: 0 0 0 1px rgb(15 18 28 / 8%), 0 16px 56px rgb(15 18 28 / 28%);
      transform-origin: bottom right; animation: rise 180ms ease-out;
    }
    .panel[hidden], .badge[hidden] { display: none; }
    iframe { display: block; inline-size: 100%; block-size: 100%; border: 0; }
    @keyframes rise { from { opacity: 0; transform: translateY(12px) scale(.98); } }
    @media (max-width: 480px) {
      .panel { inset: 0; inline-size: auto; block-size: auto; border-radius: 0; }
      .launcher[aria-expanded=true] { display: none; }
    }
    @media (prefers-reduced-motion: reduce) { .panel { animation: none; } .launcher { transition: none; } .launcher:hover { transform: none; } }
    @media print { :host { display: none; } }
  `);
  root.adoptedStyleSheets = [sheet];

  const launcher = make('button', { className: 'launcher', type: 'button' });
  const badge = make('span', { className: 'badge', hidden: true });
  launcher.append(
    icon('bubble', 'M5 5h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-7l-5 4v-4H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z'),
    icon('cross', 'M6 6l12 12M18 6L6 18'),
    badge,
  );
  const panel = make('div', { className: 'panel', hidden: true });
  panel.setAttribute('role', 'dialog');
  panel.setAttribute('aria-label', settings.title);
  root.append(panel, launcher);
  let frame = null;
  relabel();

  launcher.addEventListener('click', () => (panel.hidden ? open() : close()));
  // Inside the frame, Escape is the page's to see, and it tells us.
  root.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !panel.hidden) close();
  });
  addEventListener('message', (event) => {
    if (!frame || event.source !== frame.contentWindow || event.origin !== origin) return;
    const what = event.data?.frontdesk;
    if (what === 'close' && !panel.hidden) close();
    else if (what === 'ready' && !panel.hidden) focusFrame();
    else if (what === 'unread' && panel.hidden) {
      badge.hidden = false;
      relabel();
    }
  });

  if (document.body) document.body.append(host);
  else addEventListener('DOMContentLoaded', () => document.body.append(host));

  function open() {
    if (!frame) {
      frame = make('iframe', { title: settings.title, src: address, allow: '' });
      panel.append(frame);
    }
    panel.hidden = false;
    badge.hidden = true;
    relabel();
    focusFrame();
  }

  function close() {
    panel.hidden = true;
    relabel();
    launcher.focus();
  }

  function focusFrame() {
    frame.focus();
    frame.contentWindow?.postMessage({ frontdesk: 'opened' }, origin);
  }

  function relabel() {
    launcher.setAttribute('aria-expanded', String(!panel.hidden));
    const label = panel.hidden ? settings.open : settings.close;
    launcher.setAttribute('aria-label', badge.hidden ? label : `${label}. ${settings.unread}`);
  }

  function make(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  function icon(className, path) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    svg.setAttribute('class', className);
    const shape = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    shape.setAttribute('d', path);
    svg.append(shape);
    return svg;
  }
})({{settings}});
