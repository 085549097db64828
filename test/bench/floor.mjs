// The physical floor: at the kernel's first word one iptables-save, and when that has ended one iptables-restore of a text
// that was ready before. Plain Node, plain spawn, no parsing, no thought, nothing checked.
//   node floor.mjs full|edit|native FILE     FILE: the restore input. It says `ready` when it hears the kernel. Each line on
//   stdin arms it once; it answers `armed`, then `done`.
//   full  iptables-save; iptables-restore of the whole ruleset
//   edit  iptables-save -t filter; iptables-restore --noflush of the smallest edit
//   native  nft list ruleset; nft -f of the whole ruleset
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const [, , kind, file] = process.argv;
const text = readFileSync(file);
const SAVE = {
  full: ['iptables-save', '-c'],
  edit: ['iptables-save', '-c', '-t', 'filter'],
  native: ['nft', 'list', 'ruleset'],
};
const RESTORE = { full: ['iptables-restore'], edit: ['iptables-restore', '--noflush'], native: ['nft', '-f', '-'] };
const [saveFile, ...saveArgs] = SAVE[kind];
const [restoreFile, ...restoreArgs] = RESTORE[kind];
/** Events of what was before may still come: it is armed when none came for so long. */
const QUIET_MS = 60;
let armed = false;
let lastMs = 0;

const monitor = spawn('nft', ['monitor'], { stdio: ['ignore', 'pipe', 'inherit'] });
monitor.stdout.on('data', () => {
  lastMs = performance.now();
  if (!armed) return;
  armed = false;
  const chunks = [];
  const save = spawn(saveFile, saveArgs, { stdio: ['ignore', 'pipe', 'inherit'] });
  save.stdout.on('data', (chunk) => chunks.push(chunk));
  save.on('close', () => {
    Buffer.concat(chunks).toString();
    const restore = spawn(restoreFile, restoreArgs, { stdio: ['pipe', 'inherit', 'inherit'] });
    restore.stdin.end(text);
    restore.on('close', (code) => console.log(code === 0 ? 'done' : `failed ${code}`));
  });
});
function arm() {
  if (performance.now() - lastMs < QUIET_MS) return setTimeout(arm, QUIET_MS);
  armed = true;
  console.log('armed');
}
// nft monitor says nothing when it has joined: a table comes and goes until it is heard, with longer and longer pauses, as
// each makes the monitor read the whole ruleset anew.
function knock(pauseMs) {
  if (lastMs !== 0) return void console.log('ready');
  spawnSync('nft', ['add table ip knock; delete table ip knock']);
  setTimeout(knock, pauseMs, pauseMs * 2);
}
knock(100);
process.stdin.on('data', arm);
process.stdin.on('end', () => {
  monitor.kill();
  process.exit();
});
