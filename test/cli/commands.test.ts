// What the commands print and how they end, and that each --json document is what docs/schema.json says.

import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeTerminal, openFakeTerminal, type Told } from './fake-terminal.ts';

const SCHEMA = JSON.parse(readFileSync(new URL('../../docs/schema.json', import.meta.url), 'utf8')) as object;
const ajv = new Ajv({ allErrors: true });
ajv.addSchema(SCHEMA, 'mendwall');

/** Why a document is not what the schema says of its kind; empty when it is. */
function schemaErrors(document: unknown, definition: string): unknown[] {
  const validate = ajv.compile({ $ref: `mendwall#/definitions/${definition}` });
  validate(document);
  return validate.errors ?? [];
}

let terminal: FakeTerminal;

beforeEach(async () => {
  terminal = await openFakeTerminal();
});
afterEach(() => terminal.close());

async function initialised(): Promise<void> {
  expect((await terminal.run('init -q')).exitCode).toBe(0);
}

const idsIn = ({ host }: FakeTerminal): string[] =>
  [...host.files.texts.keys()].flatMap((path) => /\/snapshots\/([0-9a-f]{16})\/meta\.json$/.exec(path)?.[1] ?? []);

async function displace(): Promise<void> {
  await terminal.sh('iptables -I FORWARD 1 -j LIBVIRT_FWX');
  await terminal.sh('iptables -D FORWARD 3');
}

describe('--json', () => {
  it.each([
    ['version', 'version', 0],
    ['init --yes', 'init', 0],
    ['status', 'status', 1],
    ['diff', 'diff', 1],
    ['diff --all', 'diff', 1],
    ['snapshot --yes', 'snapshot', 0],
    ['snapshot list', 'snapshot-list', 0],
    ['snapshot show', 'snapshot-show', 0],
    ['snapshot prune', 'snapshot-prune', 0],
    ['restore latest --yes', 'restore', 0],
    ['restore latest -n', 'restore', 0],
    ['mend --mode merge', 'mend', 1],
    ['mend --mode observe', 'mend', 1],
    ['pause', 'pause', 0],
    ['resume', 'resume', 0],
    ['doctor', 'doctor', 1],
    ['hooks install -n', 'hooks', 0],
    ['hooks status', 'hooks-status', 1],
    ['config show', 'config', 0],
    ['check', 'check', 2],
    ['debug classify -', 'debug-classify', 0],
    ['debug merge --snapshot /base', 'debug-merge', 0],
  ])('of %s is a %s of the schema', async (line, kind, exitCode) => {
    await initialised();
    await displace();
    await terminal.sh('iptables -A INPUT -s 10.1.1.1/32 -j DROP');
    terminal.host.files.texts.set('/base', '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n');
    const told = await terminal.run(`${line} --json`);
    const document = JSON.parse(told.out) as { kind: string };
    expect(document.kind).toBe(kind);
    expect(schemaErrors(document, `document-${kind}`)).toEqual([]);
    expect(told.exitCode).toBe(exitCode);
  });

  it('of a status with a torn latest snapshot names it, and is that of the schema', async () => {
    await initialised();
    const [first = ''] = idsIn(terminal);
    await terminal.sh('iptables -A INPUT -s 10.1.1.1/32 -j DROP');
    expect((await terminal.run('snapshot --yes')).exitCode).toBe(0);
    const torn = idsIn(terminal).find((id) => id !== first) ?? '';
    terminal.host.files.texts.set(`/var/lib/mendwall/snapshots/${torn}/user.v4`, '*filter\n:INP');
    const told = await terminal.run('status --json');
    const document = JSON.parse(told.out) as object;
    expect(document).toMatchObject({ snapshot: { id: first }, damagedSnapshots: [{ id: torn }] });
    expect(schemaErrors(document, 'document-status')).toEqual([]);
    expect(told.err).toContain(`snapshot ${torn} is damaged`);
    expect((await terminal.run('diff')).out).toContain('-s 10.1.1.1/32 -j DROP');
    expect((await terminal.run('status')).out).toMatch(new RegExp(`damaged +${torn}, taken later: the rules in `));
  });

  it('with no whole snapshot commands refuse, and say that init takes the live rules', async () => {
    await initialised();
    const [only = ''] = idsIn(terminal);
    terminal.host.files.texts.delete(`/var/lib/mendwall/snapshots/${only}/meta.json`);
    for (const line of ['status', 'snapshot', 'mend', 'diff', 'accept', 'restore latest'])
      expect([line, (await terminal.run(line)).exitCode]).toEqual([line, 5]);
    expect((await terminal.run('mend')).err).toMatch(/no snapshot is whole: .* is missing; .*`mendwall init`/);
    expect((await terminal.run('init')).exitCode).toBe(0);
    expect((await terminal.run('status')).exitCode).toBe(3);
  });

  it('of accept is that of the schema', async () => {
    await initialised();
    await terminal.sh('iptables -F');
    await terminal.run('mend --mode merge');
    const told = await terminal.run('accept --json');
    expect(schemaErrors(JSON.parse(told.out), 'document-accept')).toEqual([]);
  });

  it('of log is one line of the schema an event', async () => {
    await initialised();
    await displace();
    await terminal.run('mend --mode merge');
    await terminal.run('pause');
    const lines = (await terminal.run('log --json')).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
    expect(lines.map(({ event }) => event)).toEqual(['snapshot', 'pass', 'pause']);
    expect(lines.flatMap((line) => schemaErrors(line, 'logLine'))).toEqual([]);
  });

  it('that lacks a field is told', () => {
    expect(schemaErrors({ schema: 1, kind: 'status' }, 'document-status')).not.toEqual([]);
  });
});

describe('init', () => {
  it('prints what was taken and what was left out, and writes a configuration that sets nothing', async () => {
    const told = await terminal.run('init');
    expect(told.out).toMatch(/^snapshot [0-9a-f]{16}: 4 rules taken as yours from live$/m);
    expect(told.out).toMatch(/ip +filter +FORWARD +2 +libvirt/);
    const text = terminal.host.files.texts.get('/etc/mendwall/mendwall.toml') ?? '';
    expect(text).toContain('# mode = "observe"');
    expect(text.split('\n').filter((line) => !/^(?:#.*|\[\w+\]|)$/.test(line))).toEqual([]);
    expect(
      (await terminal.run('config show')).out.split('\n').filter((line) => line.includes('mendwall.toml')),
    ).toEqual([]);
  });

  it('shows each rule and its evidence with -v -n, and writes nothing', async () => {
    const before = [...terminal.host.files.texts.keys()];
    const told = await terminal.run('init -n -v');
    expect(told.out).toContain('libvirt ip filter -A FORWARD -j LIBVIRT_FWX (plain jump to LIBVIRT_FWX)');
    expect([...terminal.host.files.texts.keys()]).toEqual(before);
  });

  it('refuses a second time with 5', async () => {
    await initialised();
    expect(await terminal.run('init')).toMatchObject({
      exitCode: 5,
      err: expect.stringContaining('--force') as string,
    });
  });
});

describe('exit codes', () => {
  it('of status are 2 before init, 3 without daemon and drift, 1 with drift', async () => {
    expect((await terminal.run('status')).exitCode).toBe(2);
    await initialised();
    expect((await terminal.run('status')).exitCode).toBe(3);
    await displace();
    expect((await terminal.run('status')).exitCode).toBe(1);
  });

  it('of mend are 1 in observe mode, 0 when all is mended; it says unchanged the second time', async () => {
    await initialised();
    await displace();
    expect((await terminal.run('mend')).exitCode).toBe(1);
    expect((await terminal.run('mend --mode merge')).exitCode).toBe(0);
    expect(await terminal.run('mend --mode merge')).toMatchObject({ exitCode: 0, out: 'unchanged\n' });
  });

  it('of diff are 0, 1 and 2', async () => {
    await initialised();
    expect(await terminal.run('diff')).toMatchObject({ exitCode: 0, out: '' });
    await displace();
    expect((await terminal.run('diff')).exitCode).toBe(1);
    expect((await terminal.run('diff ffff')).exitCode).toBe(2);
    expect((await terminal.run('diff /no/file')).exitCode).toBe(2);
  });

  it('is 5 when rules cannot be read, for root, and 7 for others', async () => {
    await initialised();
    terminal.host.answer('iptables-save', () => ({
      exitCode: 4,
      stderr:
        'iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)\n',
    }));
    expect((await terminal.run('diff')).exitCode).toBe(5);
    expect((await terminal.run('diff', { uid: 1000 })).exitCode).toBe(7);
    expect((await terminal.run('status', { uid: 1000 })).exitCode).toBe(7);
    expect((await terminal.run('mend --mode merge')).exitCode).toBe(5);
  });

  it('and drift unreadable names the family that cannot be read', async () => {
    await initialised();
    terminal.host.answer('ip6tables-save', () => ({ stdout: "# Table `nat' is incompatible, use 'nft' tool.\n" }));
    const told = await terminal.run('status --json');
    const document = JSON.parse(told.out) as { drift: unknown };
    expect(document.drift).toMatchObject([
      { kind: 'unreadable', family: 'ip6', evidence: expect.stringContaining('nat') },
    ]);
    expect([told.exitCode, schemaErrors(document, 'document-status')]).toEqual([5, []]);
    expect((await terminal.run('status')).out.match(/nat is incompatible/g)).toHaveLength(1);
  });
});

describe('odd input', () => {
  it('a message with line breaks stays on one line of the list, of the log and of a shown snapshot', async () => {
    await initialised();
    expect((await terminal.run('', { args: ['snapshot', '-m', 'a\n*nat\u001b[31m'] })).exitCode).toBe(0);
    for (const line of ['snapshot list', 'log', 'snapshot show'])
      expect((await terminal.run(line)).out).toContain('a\\n*nat\\x1b[31m\n');
  });

  it('a folder or no name in place of a rules file is 2, with a word for it', async () => {
    await initialised();
    expect(await terminal.run('', { args: ['diff', ''] })).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('name of a file'),
    });
    expect(await terminal.run('', { args: ['init', '--force', '--from', ''] })).toMatchObject({ exitCode: 2 });
  });
});

describe('a question', () => {
  beforeEach(async () => {
    await initialised();
    await terminal.sh('iptables -D INPUT 1');
  });

  it('is asked when snapshot drops a rule; no leaves all as it was, with 5', async () => {
    const told = await terminal.run('snapshot');
    expect(told).toMatchObject({ exitCode: 5, out: '' });
    expect(told.err).toContain('-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT');
    expect((await terminal.run('snapshot list')).out.trim().split('\n')).toHaveLength(2);
  });

  it('that is answered with yes does it', async () => {
    const told: Told = await terminal.run('snapshot', { confirm: () => Promise.resolve(true) });
    expect(told.exitCode).toBe(0);
    expect(told.out).toContain('drops (1 rule)');
  });
});

describe('a comment with control characters', () => {
  it('is shown, not obeyed, on a terminal, and unchanged in a pipe', async () => {
    await initialised();
    const comment = 'a\u001b[31mb';
    const rule = `-A INPUT -m comment --comment "${comment}" -j DROP`;
    await terminal.host.exec({ file: 'iptables-restore', args: ['--noflush'], input: `*filter\n${rule}\nCOMMIT\n` });
    const pages: string[] = [];
    const page = (text: string): Promise<void> => Promise.resolve(void pages.push(text));
    await terminal.run('diff', { isTerminal: { in: true, out: true }, page, env: { ...process.env, NO_COLOR: '1' } });
    expect(pages.join('')).toContain('a\\x1b[31mb');
    expect((await terminal.run('diff')).out).toContain(comment);
  });
});

describe('colour', () => {
  const seen = async (line: string, env: Record<string, string>, out: boolean): Promise<boolean> => {
    const pages: string[] = [];
    const page = (text: string): Promise<void> => Promise.resolve(void pages.push(text));
    await terminal.run(line, { isTerminal: { in: out, out }, env, page });
    return pages.join('').includes('\u001b[');
  };

  it('is used on a terminal, not in a pipe, not with NO_COLOR, and as --color says', async () => {
    await initialised();
    await displace();
    expect(await seen('diff', {}, true)).toBe(true);
    expect(await seen('diff', {}, false)).toBe(false);
    expect(await seen('diff', { NO_COLOR: '1' }, true)).toBe(false);
    expect(await seen('diff --color always', { NO_COLOR: '1' }, false)).toBe(true);
    expect(await seen('diff --color never', {}, true)).toBe(false);
  });
});

describe('the unified diff', () => {
  it('names the snapshot, the family and the chain', async () => {
    await initialised();
    await terminal.sh('iptables -A web -s 10.1.1.1/32 -j DROP');
    const { out } = await terminal.run('diff');
    expect(out).toMatch(/^--- snapshot [0-9a-f]{16} \(ip\)\n\+\+\+ live \(ip\)\n@@ -\d+,\d+ \+\d+,\d+ @@ filter web\n/);
    expect(out).toContain('\n+-A web -s 10.1.1.1/32 -j DROP\n');
    expect((await terminal.run('diff --stat')).out).toBe('ip filter web  +1  -0\n');
  });
});
