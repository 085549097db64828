// What `status` says of libvirt's nftables backend, by the shipped schema.

import { readFileSync } from 'node:fs';
import Ajv from 'ajv';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT, exitOfDrift } from '../../src/cli/exit-codes.ts';
import type { Drift } from '../../src/merge/drift.ts';
import type { BlockedDrift } from '../../src/verbs/blocked.ts';
import { nftCapture } from '../captures/nft.ts';
import { type FakeTerminal, openFakeTerminal } from './fake-terminal.ts';

const read = (name: string): string => readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
const ajv = new Ajv({ allErrors: true }).addSchema(JSON.parse(read('docs/schema.json')) as object, 'mendwall');
const LISTING = nftCapture('libvirt-11-nftables/nat.nft-ruleset.txt');
const TABLES = new Map(
  ['ip', 'ip6'].map((family) => [
    family,
    new RegExp(`^table ${family} libvirt_network .*?^}\\n`, 'ms').exec(LISTING)?.[0] ?? '',
  ]),
);

let terminal: FakeTerminal;
let tables: Map<string, string>;
/** What `nft -a list table` answers instead of the table. */
let refusal: string | undefined;

beforeEach(async () => {
  terminal = await openFakeTerminal();
  tables = new Map(TABLES);
  refusal = undefined;
  terminal.host.files.texts.set(
    '/run/libvirt/network/default.xml',
    read('test/captures/libvirt-nft/nat.run-status.xml'),
  );
  terminal.host.answer('nft', ({ args }) => {
    const words = args.join(' ');
    if (words === 'list chains' || words === 'list flowtables')
      return { stdout: [...tables.keys()].map((family) => `table ${family} libvirt_network {\n}\n`).join('') };
    if (words === '-s list ruleset') return { stdout: [...tables.values()].join('') };
    const family = /^(?:-s )?-a list table (ip6?) libvirt_network$/.exec(words)?.[1];
    if (family === undefined) return undefined;
    return refusal === undefined ? { stdout: tables.get(family) ?? '' } : { exitCode: 1, stderr: refusal };
  });
  await terminal.run('init -q');
});
afterEach(() => terminal.close());

/** The drift of `status --json` that is about libvirt's table. */
async function native(): Promise<Drift[]> {
  const document = JSON.parse((await terminal.run('status --json')).out) as { drift: Drift[] };
  const validate = ajv.compile({ $ref: 'mendwall#/definitions/document-status' });
  validate(document);
  expect(validate.errors ?? []).toEqual([]);
  return document.drift.filter(({ table }) => /(?:^| )libvirt_network$/.test(table));
}

describe('status of a host with the nftables backend', () => {
  it('says nothing of a whole table', async () => {
    expect(await native()).toEqual([]);
  });

  it('names what a network lacks, once', async () => {
    tables.set('ip', TABLES.get('ip')!.replace(/.*masquerade.*\n/g, ''));
    expect(await native()).toMatchObject([{ kind: 'foreign-lost', chain: 'guest_nat', rules: 3, owner: 'libvirt' }]);
    expect((await terminal.run('status')).out).toContain('network default lacks 3 of its 10 rules');
  });

  it('names a table that is gone', async () => {
    tables.clear();
    expect(await native()).toMatchObject([{ kind: 'foreign-lost', text: 'table ip libvirt_network', rules: 10 }]);
  });

  it('does not take a table that cannot be read for an empty one', async () => {
    refusal = 'Operation not permitted (you must be root)\n';
    expect(await native()).toMatchObject([{ kind: 'unreadable', table: 'libvirt_network' }]);
  });

  it('names a port forward that libvirt refuses, and that alone is no failure', async () => {
    await terminal.sh('iptables -t nat -A PREROUTING -p tcp --dport 8022 -j DNAT --to-destination 192.168.122.10:22');
    const found = await native();
    expect(found).toMatchObject([
      { kind: 'blocked', chain: 'guest_input', text: 'oif "virbr0" counter reject', owner: 'libvirt' },
    ]);
    const { evidence, opening, ways } = found[0] as BlockedDrift;
    expect(evidence).toMatch(
      /^network default: this reject \(handle 10\) refuses the port forward to 192\.168\.122\.10:22 of ip nat PREROUTING: -A PREROUTING -p tcp -m tcp --dport 8022 -j DNAT --to-destination 192\.168\.122\.10:22;/,
    );
    expect(opening).toBe('socat TCP-LISTEN:8022,fork TCP:192.168.122.10:22');
    expect(ways).toHaveLength(3);
    for (const way of ways ?? []) expect(evidence).toContain(way);
    expect(exitOfDrift(found)).toBe(EXIT.ok);
  });
});
