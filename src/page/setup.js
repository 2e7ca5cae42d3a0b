
// The setup. Its pages work without this; with it the time zone is the browser's, addresses are whole, and only the
// fields of what was chosen are shown.

for (const select of document.querySelectorAll('select[data-guess-zone]')) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...select.options].some((option) => option.value === zone)) select.value = zone;
}

for (const button of document.querySelectorAll('[data-copy-day]')) {
  const inputs = [...document.querySelectorAll('.day input')];
  button.hidden = false;
  button.addEventListener('click', () => {
    for (const input of inputs) {
      const [side, day, n] = input.name.split('-');
      if (Number(day) > 0 && Number(day) < 5) input.value = inputs.find((one) => one.name === `${side}-0-${n}`).value;
    }
  });
}

for (const code of document.querySelectorAll('[data-origin]')) {
  code.textContent = code.textContent.replace('/chat/', `${location.origin}/chat/`);
}

const groups = [...document.querySelectorAll('[data-for]')];
function showChosen() {
  const chosen = document.querySelector('input[name="source"]:checked')?.value;
  for (const group of groups) group.hidden = !group.dataset.for.split(' ').includes(chosen);
}
if (groups.length > 0) {
  showChosen();
  document.addEventListener('change', showChosen);
}

for (const busy of document.querySelectorAll('[data-busy]')) {
  busy.closest('form').addEventListener('submit', (event) => {
    if (event.submitter?.value === 'save') busy.textContent = busy.dataset.busy;
  });
}
