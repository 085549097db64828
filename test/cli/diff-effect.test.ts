// `mendwall diff --effect` as a person sees it, on a host in memory whose kernel holds libvirt's rules as captured.

import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeTerminal, openFakeTerminal } from './fake-terminal.ts';

const SCHEMA = JSON.parse(readFileSync(new URL('../../docs/schema.json', import.meta.url), 'utf8')) as object;
const ajv = new Ajv({ allErrors: true });
ajv.addSchema(SCHEMA, 'mendwall');

const capture = (name: string): string =>
  readFileSync(new URL(`../captures/libvirt/libvirt-9.0-iptables-nft/${name}`, import.meta.url), 'utf8');

const RULE = 'FORWARD 1 -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT';

let terminal: FakeTerminal;

beforeEach(async () => {
  terminal = await openFakeTerminal();
  const { host } = terminal;
  host.answer('ip', () => ({ exitCode: 127 }));
  host.answer('nft', ({ args }) => (args.join(' ') === '-s list ruleset' ? { stdout: '' } : undefined));
  await host.exec({ file: 'iptables-restore', args: [], input: capture('nat.iptables-save.txt') });
  await host.exec({ file: 'ip6tables-restore', args: [], input: capture('nat.ip6tables-save.txt') });
  await terminal.sh(`iptables -I ${RULE}`);
  await terminal.run('init --yes');
});
afterEach(() => terminal.close());

describe('diff --effect', () => {
  it('says that nothing changes', async () => {
    const told = await terminal.run('diff --effect');
    expect(told).toMatchObject({ exitCode: 0, out: 'no packet changes its verdict\n', err: '' });
  });

  it('says what a displaced rule of yours costs, and its --json is that of the schema', async () => {
    await terminal.sh('iptables -D FORWARD 1');
    const { out, exitCode } = await terminal.run('diff --effect');
    expect(exitCode).toBe(1);
    expect(out).toContain('ip tcp 22 to 192.168.122.10 in not virbr0 out virbr0');
    expect(out).toContain('  was ACCEPT (user, filter FORWARD 1): -A FORWARD -d 192.168.122.10/32');
    expect(out).toContain('  now REJECT (libvirt, filter LIBVIRT_FWI 2)');
    const document = JSON.parse((await terminal.run('diff --effect --json')).out) as object;
    expect(document).toMatchObject({ kind: 'effect', b: 'live', complete: true });
    const validate = ajv.compile({ $ref: 'mendwall#/definitions/document-effect' });
    validate(document);
    expect(validate.errors ?? []).toEqual([]);
  });

  it("puts a file's rules among the neighbours of now", async () => {
    terminal.host.files.texts.set(
      '/rules.v4',
      `*filter\n:FORWARD ACCEPT [0:0]\n-A ${RULE.replace(' 1 ', ' ')}\nCOMMIT\n`,
    );
    const { out, err } = await terminal.run('diff --effect /rules.v4 live');
    expect([out, err]).toEqual(['no packet changes its verdict\n', '']);
  });

  it('is refused where rules stand in both engines', async () => {
    await terminal.sh('iptables-legacy -A INPUT -j ACCEPT');
    const { exitCode, err } = await terminal.run('diff --effect');
    expect([exitCode, err.includes("the other engine's rules")]).toEqual([5, true]);
  });
});
