// The daemon's mind with a clock of numbers: what it asks for at each event, and when. What becomes of it with real passes is
// in test/guard and test/properties/interleaving.test.ts; passes that fail are in retry.test.ts.

import { describe, expect, it } from 'vitest';
import type { GuardEvent } from '../../src/events/types.ts';
import { step } from '../../src/machine.ts';
import { type Effect, initialState, type Input, type MachineSettings, type State } from '../../src/machine/types.ts';
import type { Drift } from '../../src/merge/drift.ts';
import type { Outcome, PassRequest, TableReport } from '../../src/pass/types.ts';
import { type Act, commit, LIBVIRTD } from '../commits.ts';

const SETTINGS: MachineSettings = {
  mode: 'merge',
  repair: true,
  events: true,
  contention: { budget: 5, windowMs: 60_000 },
};
const FLUSH: Act = { run: 'iptables -F', deleted: 7, chains: ['FORWARD', 'INPUT'] };
const LOAD: Act = { run: 'iptables-restore', deletesTable: true, addsTable: true, added: 9, deleted: 7 };
const LIBVIRT_RULE: Act = { parents: [LIBVIRTD], added: 1, chains: ['LIBVIRT_FWI'] };

interface Machine {
  event(event: GuardEvent): void;
  hear(act: Act): void;
  /** Time goes by; timers that are due fire. `writerLives`: until then the writer runs. */
  wait(ms: number, writerLivesUntilMs?: number): void;
  /** Ends the pass under way. */
  end(outcome?: Partial<Outcome>): void;
  feed(input: Input): void;
  /** The pass under way, undefined when none is. */
  readonly pass: () => PassRequest | undefined;
  /** Kinds of effects other than passes and timers, with the text of a log line, since the last call. */
  said(): string[];
  nowMs(): number;
}

function machine(change: Partial<MachineSettings> = {}): Machine {
  let state: State = initialState({ ...SETTINGS, ...change });
  let nowMs = 1000;
  let pass: PassRequest | undefined;
  let said: string[] = [];
  const timers = new Map<string, number>();
  function feed(input: Input): void {
    const result = step(state, input, nowMs);
    state = result.state;
    for (const effect of result.effects) take(effect);
  }
  function take(effect: Effect): void {
    if (effect.kind === 'pass') {
      expect(pass, 'two passes at once').toBeUndefined();
      pass = effect.request;
    } else if (effect.kind === 'timer') timers.set(effect.name, nowMs + effect.ms);
    else if (effect.kind === 'stop-timer') timers.delete(effect.name);
    else said.push(effect.kind === 'log' ? `${effect.level}: ${effect.message}` : effect.kind);
  }
  return {
    feed,
    event: (event) => feed({ kind: 'event', event }),
    hear: (act) => feed({ kind: 'event', event: { kind: 'commit', commit: commit(act) } }),
    wait(ms, writerLivesUntilMs = 0) {
      const endMs = nowMs + ms;
      for (;;) {
        const due = [...timers].filter(([, at]) => at <= endMs).sort((a, b) => a[1] - b[1])[0];
        if (due === undefined) break;
        nowMs = Math.max(nowMs, due[1]);
        timers.delete(due[0]);
        feed({ kind: 'timer', name: due[0] as 'settle', writerLives: nowMs < writerLivesUntilMs });
      }
      nowMs = endMs;
    },
    end(outcome = {}) {
      if (pass === undefined) throw new Error('no pass is under way');
      const request = pass;
      pass = undefined;
      feed({ kind: 'pass-done', request, outcome: { ...UNCHANGED, ...outcome } });
    },
    pass: () => pass,
    said: () => {
      const all = said;
      said = [];
      return all;
    },
    nowMs: () => nowMs,
  };
}

const UNCHANGED: Outcome = {
  kind: 'unchanged',
  trigger: '',
  changed: false,
  tables: [],
  drift: [],
  mended: [],
  adopted: undefined,
  dropped: [],
  kept: [],
  why: undefined,
  by: [],
  rounds: 1,
  durationMs: 1,
  committedMs: undefined,
};
const drift = (kind: Drift['kind'], more: Partial<Drift> = {}): Drift => ({
  kind,
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  text: '',
  owner: 'libvirt',
  evidence: '',
  ...more,
});
const LOST = [drift('foreign-lost'), drift('foreign-lost'), drift('foreign-lost')];
const WAITS: TableReport = { family: 'ip', table: 'filter', decision: 'wait', evidence: [], edits: [] };
const touched = (chain: string | undefined): GuardEvent => ({ kind: 'touched', family: 'ip', table: 'filter', chain });

describe('the fast lane', () => {
  it('reads a touched table at once, that one alone', () => {
    const mind = machine();
    mind.event(touched('FORWARD'));
    expect(mind.pass()).toMatchObject({
      scope: [{ family: 'ip', table: 'filter' }],
      burstOver: false,
      neighboursQuiet: false,
    });
  });

  it('does not for a chain that libvirt keeps for itself, unless the user has rules there', () => {
    const mind = machine();
    mind.event(touched('LIBVIRT_FWI'));
    expect(mind.pass()).toBeUndefined();
    mind.feed({ kind: 'facts', rules: 1, chainsWithUserRules: new Set(['ip filter LIBVIRT_FWI']) });
    mind.event(touched('LIBVIRT_FWI'));
    expect(mind.pass()).toBeDefined();
  });

  it('nor for one that another neighbour keeps for itself; when its burst is over, what stands is its word', () => {
    const mind = machine();
    mind.event(touched('f2b-sshd'));
    mind.hear({ chains: ['f2b-sshd'], added: 1 });
    expect(mind.pass()).toBeUndefined();
    mind.wait(60);
    expect(mind.pass()).toMatchObject({ trigger: 'settled', burstOver: true, neighboursQuiet: true });
    mind.end();
    mind.event(touched('DOCKER-USER'));
    expect(mind.pass()).toMatchObject({ scope: [{ family: 'ip', table: 'filter' }] });
  });

  it('reads again what was touched while a pass ran, once', () => {
    const mind = machine();
    mind.event(touched('FORWARD'));
    mind.event(touched('FORWARD'));
    mind.event(touched('INPUT'));
    mind.end();
    expect(mind.pass()).toMatchObject({ scope: [{ family: 'ip', table: 'filter' }] });
    mind.end();
    expect(mind.pass()).toBeUndefined();
  });

  it('leaves a table that lacks user rules alone until the burst is over, but looks at a load at once', () => {
    const mind = machine();
    mind.event(touched('FORWARD'));
    mind.hear(FLUSH);
    mind.end({ kind: 'waiting-for-quiet', tables: [WAITS] });
    mind.event(touched('FORWARD'));
    expect(mind.pass()).toBeUndefined();
    mind.hear(LOAD);
    expect(mind.pass()).toMatchObject({ trigger: 'event' });
  });
});

describe('the end of a burst', () => {
  const settledAt = (mind: Machine, mostMs: number): number => {
    for (const from = mind.nowMs(); mind.nowMs() - from < mostMs;) {
      if (mind.pass() !== undefined) return mind.nowMs() - from;
      mind.wait(5);
    }
    return -1;
  };

  it('comes 50 ms after the last commit, 150 ms with 5,000 rules', () => {
    for (const [rules, ms] of [
      [10, 50],
      [5000, 150],
    ] as const) {
      const mind = machine();
      mind.feed({ kind: 'facts', rules, chainsWithUserRules: new Set() });
      mind.hear({ run: 'iptables -A', added: 1 });
      expect(settledAt(mind, 500)).toBe(ms);
      expect(mind.pass()).toMatchObject({ trigger: 'settled', burstOver: true, scope: undefined });
    }
  });

  it('waits for the writer of a flush, and for the script that called it', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(400, 1400);
    expect(mind.pass()).toBeUndefined();
    mind.wait(60);
    expect(mind.pass()).toMatchObject({ trigger: 'settled' });
  });

  it('is put off by each commit, at most for 10 s', () => {
    const mind = machine();
    let burstMs = 0;
    while (mind.pass() === undefined && burstMs < 20_000) {
      mind.hear({ run: 'iptables -A', added: 1 });
      mind.wait(20);
      burstMs += 20;
    }
    expect(burstMs).toBeGreaterThanOrEqual(9_980);
    expect(burstMs).toBeLessThanOrEqual(10_060);
    expect(mind.pass()).toMatchObject({ burstOver: true, capped: true });
  });

  it('is not put off by libvirt, which writes to its own chains', () => {
    const mind = machine();
    mind.hear({ run: 'iptables -D', deleted: 1 });
    mind.wait(30);
    mind.hear(LIBVIRT_RULE);
    mind.wait(20);
    expect(mind.pass()).toMatchObject({ trigger: 'settled', burstOver: true });
  });
});

describe('libvirt’s own part', () => {
  it('is judged when libvirt has been quiet for 500 ms, and then it is its word', () => {
    const mind = machine();
    for (let count = 0; count < 4; count++) {
      mind.hear(LIBVIRT_RULE);
      mind.wait(400);
    }
    expect(mind.pass()).toBeUndefined();
    mind.wait(100);
    expect(mind.pass()).toMatchObject({ trigger: 'libvirt quiet', neighboursQuiet: true });
  });

  it('is judged after 5 s though libvirt never rests', () => {
    const mind = machine();
    let ms = 0;
    for (; mind.pass() === undefined && ms < 9000; ms += 100) {
      mind.hear(LIBVIRT_RULE);
      mind.wait(100);
    }
    expect(ms).toBe(5000);
  });

  it.each([
    ['its hook', { kind: 'hook', object: 'network', operation: 'started', subject: 'default', atMs: 0 }],
    ['libvirt-dbus', { kind: 'network', name: 'default', change: 'started' }],
  ] as const)('is judged at once when %s says that it is done', (_, event) => {
    const mind = machine();
    mind.hear(LIBVIRT_RULE);
    mind.event(event);
    expect(mind.pass()).toMatchObject({ trigger: 'libvirt done', neighboursQuiet: true });
  });

  it('goes back by text in the pass that ends a wipe', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(60);
    expect(mind.pass()).toMatchObject({ burstOver: true, repair: true });
  });

  it.each([
    ['libvirt has written since', (mind: Machine) => mind.hear(LIBVIRT_RULE)],
    ['Reloaded was heard since', (mind: Machine) => mind.event({ kind: 'firewalld', change: 'reloaded' })],
    [
      'libvirtd is starting',
      (mind: Machine) => mind.event({ kind: 'unit', unit: 'libvirtd.service', change: 'activating' }),
    ],
    [
      'its hook says that it begins',
      (mind: Machine) => mind.event({ kind: 'hook', object: 'daemon', operation: 'start', subject: '-', atMs: 0 }),
    ],
  ])('does not while %s, but when that is quiet', (_, happens) => {
    const mind = machine();
    mind.hear(FLUSH);
    happens(mind);
    mind.wait(60);
    expect(mind.pass()).toMatchObject({ trigger: 'settled', repair: false });
    mind.end({ drift: LOST });
    mind.wait(600);
    expect(mind.pass()).toMatchObject({ trigger: 'libvirt quiet', repair: true });
  });

  it('is asked for when text cannot put it right, three times at most', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(60);
    for (let asked = 1; asked <= 3; asked++) {
      mind.wait(1000);
      mind.end({ drift: LOST });
      if (mind.pass() === undefined) mind.wait(1000);
      while (mind.pass()?.repair === false) {
        mind.end({ drift: LOST });
        mind.wait(1000);
      }
    }
    while (mind.pass() !== undefined) {
      mind.end({ drift: LOST });
      mind.wait(1000);
    }
    const said = mind.said();
    expect(said.filter((line) => line === 'ask-libvirt')).toHaveLength(3);
    expect(said.at(-1)).toMatch(/^error: libvirt's rules are incomplete after 3 requests/);
  });

  it('is never repaired, nor asked for, in observe mode or without repair', () => {
    for (const change of [{ mode: 'observe' }, { repair: false }] as const) {
      const mind = machine(change);
      mind.hear(FLUSH);
      for (let count = 0; count < 20; count++) {
        mind.wait(1000);
        if (mind.pass() !== undefined) mind.end({ drift: LOST });
      }
      expect(mind.said().filter((line) => line === 'ask-libvirt')).toEqual([]);
    }
  });

  it('is not asked for when another neighbour’s is missing', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(60);
    for (let round = 0; round < 6; round++) {
      if (mind.pass() !== undefined) mind.end({ drift: LOST.map((each) => ({ ...each, owner: 'fail2ban' })) });
      mind.wait(2000);
    }
    expect(mind.pass()).toBeUndefined();
    expect(mind.said()).toEqual([]);
  });

  describe('on the nftables backend', () => {
    const lost = (rules: number): readonly Drift[] => [
      drift('foreign-lost', { table: 'libvirt_network', chain: 'guest_nat', rules }),
    ];
    const asks = (mind: Machine): number => mind.said().filter((line) => line === 'ask-libvirt').length;
    /** As long as it runs, each pass finds this. */
    function live(mind: Machine, ms: number, found: () => readonly Drift[]): void {
      for (const end = mind.nowMs() + ms; mind.nowMs() < end; mind.wait(100)) {
        if (mind.pass() !== undefined) mind.end({ drift: found() });
      }
    }

    it('is asked for a second time when the first rebuild lost a network, and then no more', () => {
      const mind = machine();
      mind.hear({ ...FLUSH, deletesTable: true });
      let asked = 0;
      live(mind, 10_000, () => {
        asked += asks(mind);
        return asked < 2 ? lost(asked === 0 ? 20 : 10) : [];
      });
      expect(asked + asks(mind)).toBe(2);
      expect(mind.pass()).toBeUndefined();
    });

    it('is asked for again when its rebuild took nearly as long as it is waited for (10 networks, a busy machine)', () => {
      const mind = machine();
      mind.hear({ ...FLUSH, deletesTable: true });
      for (let waits = 0; waits < 100 && asks(mind) === 0; waits++) {
        if (mind.pass() !== undefined) mind.end({ drift: lost(100) });
        mind.wait(10);
      }
      // Commits without a pause until the wait for quiet is cut short by its cap.
      for (let ms = 0; ms < 4800; ms += 100) {
        mind.hear(LIBVIRT_RULE);
        mind.wait(100);
      }
      expect(asks(mind)).toBe(0);
      live(mind, 600, () => lost(60));
      expect(asks(mind)).toBe(1);
    });

    it('is asked for three times at most for one wipe, whoever looks later', () => {
      const mind = machine();
      mind.hear({ ...FLUSH, deletesTable: true });
      live(mind, 20_000, () => lost(20));
      for (let look = 0; look < 10; look++) {
        mind.event({ kind: 'backstop' });
        live(mind, 5000, () => lost(20));
      }
      expect(asks(mind)).toBe(3);
      mind.hear({ ...FLUSH, deletesTable: true });
      live(mind, 20_000, () => lost(20));
      expect(asks(mind), 'a wipe that is heard is a new one').toBe(3);
    });

    it('is asked for where the wipe was before the start, when more is missing than a hand deletes', () => {
      for (const [rules, times] of [
        [2, 0],
        [10, 3],
      ] as const) {
        const mind = machine();
        mind.event({ kind: 'look', reason: 'start' });
        live(mind, 60_000, () => lost(rules));
        expect(asks(mind)).toBe(times);
      }
    });

    it('with copies is left alone', () => {
      const mind = machine();
      mind.hear(LIBVIRT_RULE);
      mind.wait(500);
      mind.end({ drift: [drift('stale', { table: 'libvirt_network', chain: 'guest_nat' })] });
      mind.wait(60_000);
      expect(mind.pass()).toBeUndefined();
      expect(asks(mind)).toBe(0);
    });
  });

  it('with copies that nobody wrote is put right when it is quiet', () => {
    const mind = machine();
    mind.hear(LIBVIRT_RULE);
    mind.wait(500);
    mind.end({ drift: [drift('stale', { chain: 'LIBVIRT_FWI' })] });
    mind.wait(10);
    expect(mind.pass()).toMatchObject({ repair: true });
    mind.end();
    mind.wait(5000);
    expect(mind.pass()).toBeUndefined();
  });
});

describe('other events', () => {
  it.each<[string, GuardEvent]>([
    ['a domain', { kind: 'domain', change: 'started' }],
    ['a network that is only defined', { kind: 'network', name: 'x', change: 'defined' }],
    ['a hook of a guest', { kind: 'hook', object: 'qemu', operation: 'start', subject: 'vm', atMs: 0 }],
    ['another unit', { kind: 'unit', unit: 'cron.service', change: 'active' }],
    ['a commit elsewhere', { kind: 'commit', commit: { ...commit({}), changes: [], elsewhere: true } }],
  ])('%s asks for nothing', (_, event) => {
    const mind = machine();
    mind.event(event);
    mind.wait(60_000);
    expect(mind.pass()).toBeUndefined();
    expect(mind.said()).toEqual([]);
  });

  it('libvirtd’s start wakes libvirt-dbus, which is mute until it is called', () => {
    const mind = machine();
    mind.event({ kind: 'unit', unit: 'libvirtd.service', change: 'active' });
    expect(mind.said()).toEqual(['poke-libvirt-dbus']);
  });

  it('lost events ask for everything, judged by the result', () => {
    const mind = machine();
    mind.event({ kind: 'look', reason: 'the kernel dropped events' });
    expect(mind.pass()).toMatchObject({ trigger: 'the kernel dropped events', scope: undefined, summaries: undefined });
  });

  it('lost events count until a pass at rest has judged them, not only in the pass they asked for', () => {
    const mind = machine();
    mind.event({ kind: 'look', reason: 'start' });
    mind.hear({ run: 'iptables -A', added: 1 });
    mind.end({ overtaken: true });
    mind.wait(60);
    expect(mind.pass()).toMatchObject({ trigger: 'settled', summaries: undefined });
    mind.end();
    mind.hear({ run: 'iptables -A', added: 1 });
    mind.wait(60);
    expect(mind.pass()?.summaries).toBeDefined();
  });

  it('a check by the clock inside a burst goes by what was heard, and ends nothing', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(5, 9999);
    mind.event({ kind: 'backstop' });
    expect(mind.pass()).toMatchObject({ burstOver: false });
    expect(mind.pass()?.summaries?.('ip').get('filter')).toMatchObject({ wiped: true });
  });

  it('a burst that went on under its pass is judged whole, with what was heard before', () => {
    const mind = machine();
    mind.hear(FLUSH);
    mind.wait(60);
    mind.hear({ run: 'iptables -A', added: 1 });
    mind.end({ kind: 'waiting-for-quiet', overtaken: true });
    mind.wait(60);
    expect(mind.pass()?.summaries?.('ip').get('filter')).toMatchObject({ wiped: true });
  });
});

describe('without kernel events', () => {
  it('a change is looked at now, judged by its result after 300 ms, and libvirt’s part after a quiet of 500', () => {
    const mind = machine({ events: false });
    mind.feed({ kind: 'facts', rules: 3, chainsWithUserRules: new Set() });
    mind.event({ kind: 'legacy-changed', reason: 'lock' });
    expect(mind.pass()).toMatchObject({ trigger: 'event', burstOver: false, summaries: undefined });
    mind.end();
    mind.wait(299);
    expect(mind.pass()).toBeUndefined();
    mind.wait(1);
    expect(mind.pass()).toMatchObject({ trigger: 'settled', burstOver: true, summaries: undefined });
    mind.end({ tables: [{ ...WAITS, decision: 'wipe' }], drift: LOST });
    mind.wait(500);
    expect(mind.pass()).toMatchObject({ repair: true });
  });
});

describe('contention', () => {
  const mend = (mind: Machine): void => {
    mind.event(touched('FORWARD'));
    mind.end({ kind: 'mended', changed: true, mended: [drift('displaced')], by: ['libvirtd pid 3'] });
  };

  it('stands down after five mends in a minute, names the rival, and recovers when it is quiet', () => {
    const mind = machine();
    for (let count = 0; count < 5; count++) {
      mend(mind);
      mind.wait(1000);
    }
    expect(mind.said()).toEqual([
      'warning: contended ip filter FORWARD: libvirt (last by libvirtd pid 3) keeps changing the order; it is left alone until the rival is quiet',
    ]);
    mind.event(touched('FORWARD'));
    expect([...(mind.pass()?.standDown ?? [])]).toEqual(['ip filter FORWARD']);
    mind.end();
    mind.wait(120_000);
    expect(mind.said()).toEqual(['notice: no longer contended ip filter FORWARD: libvirt is quiet']);
    expect(mind.pass()).toMatchObject({ trigger: 'recovered' });
    expect(mind.pass()?.standDown.size).toBe(0);
  });

  it('recovers a window after the rival’s last write, however often somebody looks meanwhile', () => {
    const mind = machine();
    for (let count = 0; count < 5; count++) (mend(mind), mind.wait(1000));
    mind.said();
    const look = (): void => {
      mind.event({ kind: 'backstop' });
      mind.end({ drift: [drift('displaced')] });
    };
    mind.hear({ parents: [LIBVIRTD], added: 1, chains: ['FORWARD'] });
    for (let seconds = 0; seconds < 50; seconds += 10)
      (mind.wait(10_000), mind.pass() !== undefined && mind.end(), look());
    expect(mind.said()).toEqual([]);
    for (let seconds = 0; seconds < 30 && mind.pass() === undefined; seconds += 10) mind.wait(10_000);
    expect(mind.said()).toEqual(['notice: no longer contended ip filter FORWARD: libvirt is quiet']);
    expect(mind.pass()).toMatchObject({ trigger: 'recovered' });
  });

  it('never gives lost rules up: they come back after growing pauses', () => {
    const mind = machine();
    const pauses: number[] = [];
    for (let count = 0; count < 8; count++) {
      mind.hear(FLUSH);
      const from = mind.nowMs();
      while (mind.pass() === undefined && mind.nowMs() - from < 100_000) mind.wait(10);
      pauses.push(mind.nowMs() - from);
      mind.end({ kind: 'mended', changed: true, mended: [drift('lost', { owner: 'user' })] });
    }
    expect(pauses.slice(0, 5)).toEqual([50, 50, 50, 50, 50]);
    expect(pauses.slice(5).map((ms) => Math.round(ms / 1000))).toEqual([1, 2, 4]);
  });
});

describe('a pause', () => {
  it('asks for no pass; its end asks for one at rest', () => {
    const mind = machine();
    mind.feed({ kind: 'pause', untilMs: mind.nowMs() + 60_000 });
    mind.event(touched('FORWARD'));
    mind.hear(FLUSH);
    mind.event({ kind: 'backstop' });
    mind.event({ kind: 'look', reason: 'x' });
    mind.wait(59_000);
    expect(mind.pass()).toBeUndefined();
    mind.wait(1000);
    expect(mind.pass()).toMatchObject({ trigger: 'resume', burstOver: true });
    expect(mind.said()).toEqual(['notice: the pause is over']);
  });

  it('ends by hand', () => {
    const mind = machine();
    mind.feed({ kind: 'pause', untilMs: mind.nowMs() + 60_000 });
    mind.feed({ kind: 'resume' });
    expect(mind.pass()).toMatchObject({ trigger: 'resume' });
  });
});
