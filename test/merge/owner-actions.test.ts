// What `[repair]` makes of who has lost rules.

import { describe, expect, it } from 'vitest';
import type { LostNeighbour } from '../../src/merge/foreign-lost.ts';
import { describeAction, describeRepairs, ownerActions, reinsertText } from '../../src/merge/owner-actions.ts';
import { NEIGHBOURS } from '../../src/owners/index.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';

const IN = '-A FORWARD -m physdev --physdev-in vif1.0 --physdev-is-bridged -j ACCEPT';
const OUT = '-A FORWARD -m physdev --physdev-out vif1.0 --physdev-is-bridged -j ACCEPT';
const GONE_GUEST = '-A FORWARD -m physdev --physdev-in vif9.0 --physdev-is-bridged -j ACCEPT';

const loss = (owner: string, gone?: readonly string[]): LostNeighbour => ({
  family: 'ip',
  table: 'filter',
  owner,
  rules: 2,
  chain: 'INPUT',
  text: '-A INPUT -j f2b-sshd',
  emptied: true,
  unhooked: true,
  ...(gone === undefined ? {} : { gone }),
});
const lost = (...rules: LostNeighbour[]) => ({ rules, tables: {} });

describe('an action', () => {
  it('is off unless the configuration names the owner', () => {
    expect(ownerActions(lost(loss('fail2ban'), loss('docker')), {})).toEqual([]);
    expect(ownerActions(lost(loss('docker')), { fail2ban: 'ask' })).toEqual([]);
    expect(ownerActions(lost(), { fail2ban: 'ask' })).toEqual([]);
  });

  it('is one command an owner, for native tables, too', () => {
    const ask = { kind: 'ask', owner: 'fail2ban', command: ['fail2ban-client', 'reload', '--restart'] };
    expect(ownerActions(lost(loss('fail2ban'), loss('fail2ban')), { fail2ban: 'ask' })).toEqual([ask]);
    expect(ownerActions({ rules: [], tables: { 'inet f2b-table': 'fail2ban' } }, { fail2ban: 'ask' })).toEqual([ask]);
  });

  it('by text is only for owners whose file allows it', () => {
    expect(ownerActions(lost(loss('fail2ban', [IN])), { fail2ban: 'reinsert' })).toEqual([]);
    const [action] = ownerActions(lost(loss('xen', [IN, OUT])), { xen: 'reinsert' });
    expect(action).toMatchObject({ kind: 'reinsert', owner: 'xen' });
    expect(action === undefined ? '' : describeAction(action)).toBe("put 2 rules of xen's back by text");
  });

  it('is told before anything is remembered', () => {
    expect(describeRepairs(['fail2ban', 'xen', 'xen', 'docker'], { fail2ban: 'ask', xen: 'reinsert' })).toEqual([
      'ask fail2ban: fail2ban-client reload --restart',
      "put lost rules of xen's back by text",
    ]);
  });
});

describe('rules that go back by text', () => {
  const exists = (name: string): boolean => name === 'vif1.0';
  const live = (rules: string) => parseRuleset(`*filter\n:FORWARD ACCEPT [0:0]\n${rules}COMMIT\n`, 'ip');
  const [top, next] = [IN, OUT].map((text) => text.replace('-A FORWARD', '-I FORWARD 1'));

  it('go to the top in their order, copies counted, without those of guests that are gone', () => {
    const losses = [loss('xen', [IN, OUT, OUT, GONE_GUEST, '-A xen-chain -i vif1.0 -j ACCEPT'])];
    expect(reinsertText(losses, live(`${OUT}\n`), exists)).toBe(`*filter\n${next}\n${top}\nCOMMIT\n`);
  });

  it('are none where all stand, or for the other family', () => {
    expect(reinsertText([loss('xen', [IN, OUT])], live(`${IN}\n${OUT}\n`), exists)).toBe('');
    expect(reinsertText([{ ...loss('xen', [IN]), family: 'ip6' }], live(''), exists)).toBe('');
  });
});

describe('a neighbour’s file', () => {
  it('has no shell words in its command, and says what the command is', () => {
    for (const { repair } of NEIGHBOURS) {
      if (repair.ask === undefined) continue;
      expect(repair.command).toBe(repair.ask.join(' '));
      expect(repair.ask.join('')).toMatch(/^[\w-]+$/);
    }
  });
});
