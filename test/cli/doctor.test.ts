// `mendwall doctor` as a person sees it, on a host in memory; and where things are closed to who asks.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { HostError, type Files } from '../../src/host/host.ts';
import type { Terminal } from '../../src/host/terminal.ts';
import type { DoctorResult } from '../../src/verbs/doctor.ts';
import { type FakeTerminal, openFakeTerminal } from './fake-terminal.ts';

let terminal: FakeTerminal;
beforeEach(async () => void (terminal = await openFakeTerminal()));
afterEach(() => terminal.close());

async function verdicts(change: Partial<Terminal> = {}): Promise<ReadonlyMap<string, string>> {
  const { out } = await terminal.run('doctor --json', change);
  const { findings } = JSON.parse(out) as DoctorResult;
  return new Map(findings.map(({ check, verdict }) => [check, verdict]));
}

it('prints a line a finding, the line to paste below it, and the numbers at the end', async () => {
  const { out, err, exitCode } = await terminal.run('doctor');
  const lines = out.split('\n');
  const at = lines.findIndex((line) => /^WARN {2}snapshot +there is none/.test(line));
  expect(lines[at + 1]).toBe('        mendwall init');
  expect(lines.at(-2)).toMatch(/^(?:\d+ FAIL, )?\d+ WARN, \d+ PASS, \d+ SKIP$/);
  expect([exitCode, err]).toEqual([1, '']);
});

it('knows what a snapshot lets it know', async () => {
  expect((await verdicts()).get('your-rules')).toBe('SKIP');
  await terminal.run('init -q');
  const now = await verdicts();
  expect([now.get('your-rules'), now.get('snapshot'), now.get('waiting')]).toEqual(['PASS', 'PASS', 'PASS']);
});

it('looks through what nftables.conf includes, and at the units that start', async () => {
  const { texts } = terminal.host.files;
  texts.set('/etc/nftables.conf', 'include "/etc/nftables.d/*.nft"\n');
  texts.set('/etc/nftables.d/10-first.nft', 'flush ruleset\n');
  texts.set('/etc/systemd/system/sysinit.target.wants/nftables.service', '');
  const { out } = await terminal.run('doctor');
  expect(out).toMatch(/^WARN {2}flush-ruleset +\/etc\/nftables\.d\/10-first\.nft:1: /m);
});

it('says since when something is pending, by the journal', async () => {
  await terminal.run('init -q');
  await terminal.sh('iptables -A INPUT -p tcp --dport 8080 -j ACCEPT');
  await terminal.run('mend --mode merge');
  expect((await verdicts()).get('pending-old')).toBe('PASS');
  await terminal.host.clock.advance(25 * 60 * 60 * 1000);
  expect((await verdicts()).get('pending-old')).toBe('WARN');
});

/** Files as somebody who is not root finds them: below these folders nothing can be read. */
function closed(files: Files, folders: readonly string[]): Files {
  const guard =
    <T>(read: (path: string) => Promise<T>) =>
    (path: string): Promise<T> =>
      folders.some((folder) => path.startsWith(folder))
        ? Promise.reject(new HostError('read-failed', `cannot read ${path}: permission denied`))
        : read(path);
  return {
    ...files,
    read: guard(files.read),
    list: guard(files.list),
    stat: guard(files.stat),
    exists: guard(files.exists),
  };
}

it('skips with the reason what only root may read, and finds the rest', async () => {
  const { host } = terminal;
  const files = closed(host.files, ['/etc/mendwall', '/var/lib/mendwall', '/proc/net/ip_tables_names']);
  const makeHost: Terminal['makeHost'] = () => ({ ...host, files, close: () => Promise.resolve() });
  const { out, exitCode } = await terminal.run('doctor', { uid: 1000, makeHost });
  expect(out).toMatch(/^SKIP {2}configuration +cannot read \/etc\/mendwall.*permission denied$/m);
  expect(out).toMatch(/^SKIP {2}snapshot +cannot read \/var\/lib\/mendwall/m);
  expect(out).toMatch(/^SKIP {2}libvirt-chains +the live rules can be read by root only$/m);
  expect(out).toMatch(/^PASS {2}boot-loaders /m);
  expect(out).not.toMatch(
    /^(?:PASS|FAIL) {2}(?:engines|libvirt-chains|libvirt-stale|guests|fail2ban|your|shadowed|mode|trial|paused)/m,
  );
  expect(exitCode).toBe(1);
});
