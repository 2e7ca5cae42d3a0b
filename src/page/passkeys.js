// A form that says `data-passkey="create"` or `"get"` asks its `data-begin` what for, lets the browser make or use a
// passkey, and is sent with what the browser answers. What does not work here is not shown.

const isPossible = isSecureContext && 'PublicKeyCredential' in globalThis && 'credentials' in navigator;
for (const part of document.querySelectorAll('[data-with-passkeys]')) part.hidden = !isPossible;
for (const part of document.querySelectorAll('[data-without-passkeys]')) part.hidden = isPossible;

function toBytes(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

function toText(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join('');
  return btoa(letters).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

function credentials(ids) {
  return ids.map((id) => ({ type: 'public-key', id: toBytes(id) }));
}

async function make(asked) {
  const { response } = await navigator.credentials.create({
    publicKey: {
      ...asked,
      challenge: toBytes(asked.challenge),
      user: { ...asked.user, id: toBytes(asked.user.id) },
      excludeCredentials: credentials(asked.excludeCredentials),
    },
  });
  return { client_data: response.clientDataJSON, authenticator_data: response.getAuthenticatorData() };
}

async function use(asked) {
  const { rawId, response } = await navigator.credentials.get({
    publicKey: { ...asked, challenge: toBytes(asked.challenge), allowCredentials: credentials(asked.allowCredentials) },
  });
  return {
    credential: rawId,
    client_data: response.clientDataJSON,
    authenticator_data: response.authenticatorData,
    signature: response.signature,
    ...(response.userHandle && { handle: response.userHandle }),
  };
}

async function answer(form) {
  const body = new URLSearchParams(new FormData(form));
  const response = await fetch(form.dataset.begin, { method: 'POST', body, signal: AbortSignal.timeout(30_000) });
  // Elsewhere is the door: the session is over.
  if (response.redirected) return location.reload();
  const asked = await response.json();
  if (!response.ok) throw new Error(asked.error, { cause: 'said' });
  const answered = await (form.dataset.passkey === 'create' ? make(asked) : use(asked));
  for (const [name, buffer] of Object.entries(answered)) {
    const input = form.querySelector(`input[name=${name}]`) ?? form.appendChild(document.createElement('input'));
    Object.assign(input, { type: 'hidden', name, value: toText(buffer) });
  }
  // It was needed once.
  for (const input of form.querySelectorAll('[type=password]')) input.disabled = true;
  form.submit();
}

for (const form of document.querySelectorAll('[data-passkey]')) {
  const problem = form.querySelector('[role=alert]');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.getAttribute('aria-busy') === 'true') return;
    form.setAttribute('aria-busy', 'true');
    problem.hidden = true;
    try {
      await answer(form);
    } catch (error) {
      const { known, failed } = form.dataset;
      problem.textContent = error.cause === 'said' ? error.message : error.name === 'InvalidStateError' && known ? known : failed;
      problem.hidden = false;
    } finally {
      form.setAttribute('aria-busy', 'false');
    }
  });
}
