// Policies that ufw sets are no drift of the user's.

import { describe, expect, it } from 'vitest';
import { classify } from '../../src/classify/classify.ts';
import type { Drift } from '../../src/merge/drift.ts';
import { policySetter, withoutSetPolicies } from '../../src/merge/policies.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';

const live = (rules: string) =>
  classify(
    parseRuleset(
      `*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-before-input - [0:0]\n${rules}COMMIT\n`,
      'ip',
    ),
    undefined,
  );
const ENABLED = live('-A INPUT -j ufw-before-input\n-A FORWARD -s 192.0.2.0/24 -j DROP\n');
/** After `ufw disable`, and after `iptables -F`: its chains stay, nothing jumps to them. */
const LEFT = live('');

const policy = (chain: string, family: Drift['family'] = 'ip', table = 'filter'): Drift => ({
  kind: 'policy',
  family,
  table,
  chain,
  text: `-P ${chain} DROP`,
  owner: 'user',
  evidence: 'was ACCEPT',
});

describe('a policy', () => {
  it('is ufw’s where its jump stands in the chain', () => {
    expect(policySetter(ENABLED, 'INPUT')).toBe('ufw');
    expect(policySetter(ENABLED, 'FORWARD')).toBeUndefined();
    expect(policySetter(LEFT, 'INPUT')).toBeUndefined();
  });

  it('of ufw’s is no drift; every other one stays', () => {
    const drift = [policy('INPUT'), policy('FORWARD'), policy('INPUT', 'ip6'), policy('INPUT', 'ip', 'nat')];
    expect(withoutSetPolicies(drift, [ENABLED])).toEqual(drift.slice(1));
    expect(withoutSetPolicies(drift, [LEFT])).toEqual(drift);
    const pending: Drift = { ...policy('INPUT'), kind: 'pending' };
    expect(withoutSetPolicies([pending], [ENABLED])).toEqual([pending]);
  });
});
