// The ipsets that rules name, kept beside a snapshot.

import { describe, expect, it } from 'vitest';
import type { Command, ExecResult, Host } from '../../src/host/host.ts';
import { keepSets, readSets, setsNamed } from '../../src/record/kept-sets.ts';
import { parseUserPart } from '../../src/ruleset/part-text.ts';
import type { Family } from '../../src/ruleset/types.ts';
import type { UserPart } from '../../src/ruleset/user-part.ts';
import { createFakeHost } from '../fake/host.ts';

const SAVED = `create banned hash:ip family inet hashsize 1024 maxelem 65536
create other hash:ip family inet hashsize 1024 maxelem 65536
create all list:set size 8
add banned 192.0.2.1
add other 192.0.2.2
add all banned
`;

function partsOf(text: string): Readonly<Record<Family, UserPart>> {
  const read = (family: Family, of: string): UserPart => {
    const parsed = parseUserPart(of, family, 'test');
    if (parsed.kind !== 'part') throw new Error(parsed.problems[0]?.message);
    return parsed.part;
  };
  return { ip: read('ip', text), ip6: read('ip6', '') };
}

const NAMES_ALL = partsOf(`*filter
:INPUT ACCEPT [0:0]
-A INPUT -m set --match-set all src -j DROP
-A INPUT -p tcp -j SET --add-set seen src
COMMIT
`);

function hostWith(saved: string): { readonly host: Host; readonly ran: Command[] } {
  const ran: Command[] = [];
  const exec = (command: Command): Promise<ExecResult> => {
    ran.push(command);
    const exitCode = saved === '' ? 1 : 0;
    return Promise.resolve({ command, exitCode, stdout: saved, stderr: '', durationMs: 0, timedOut: false, pid: 1 });
  };
  return { host: { ...createFakeHost(), exec }, ran };
}

describe('kept sets', () => {
  it('are those that matches and targets name', () => {
    expect(setsNamed(NAMES_ALL)).toEqual(['all', 'seen']);
  });

  it('hold the members of a list before the list, and no other set', async () => {
    const { host } = hostWith(SAVED);
    await keepSets(host, '/state', NAMES_ALL, { id: 'a', before: undefined });
    const kept = await readSets(host, '/state', 'a');
    expect([...kept.keys()]).toEqual(['banned', 'all']);
    expect(kept.get('banned')?.[1]).toBe('add banned 192.0.2.1');
  });

  it('ask nobody when no rule names one', async () => {
    const { host, ran } = hostWith(SAVED);
    await keepSets(host, '/state', partsOf(''), { id: 'a', before: undefined });
    expect(ran).toEqual([]);
    expect(await host.files.exists('/state/a/user.ipset')).toBe(false);
  });

  it('stay as they were kept when they are not there now, also from the snapshot before', async () => {
    const { host } = hostWith(SAVED);
    await keepSets(host, '/state', NAMES_ALL, { id: 'a', before: undefined });
    const gone = { ...host, exec: hostWith('').host.exec };
    await keepSets(gone, '/state', NAMES_ALL, { id: 'a', before: undefined });
    await keepSets(gone, '/state', NAMES_ALL, { id: 'b', before: 'a' });
    for (const id of ['a', 'b']) expect([...(await readSets(host, '/state', id)).keys()]).toEqual(['banned', 'all']);
  });
});
