// Namespaces that come and go under the daemon: which guards are there, in what order they begin and end.

import { describe, expect, it } from 'vitest';
import { createNetnsGuards, type NetnsGuard, type NetnsGuards } from '../../src/cli/netns-guards.ts';
import type { WatchHandlers } from '../../src/host/host.ts';
import type { NetnsList } from '../../src/host/netns.ts';
import { createFakeClock, type FakeClock } from '../fake/clock.ts';

interface Scene {
  readonly guards: NetnsGuards;
  readonly clock: FakeClock;
  /** What was opened (`+a1`) and stopped (`-a1 gone`), in order: name and life. */
  readonly acts: string[];
  readonly said: string[];
  /** The folder is so from now on: `a1 b1`, `c?` for a name whose namespace is not made yet. */
  folder(text: string): void;
  /** The folder's watch calls. */
  changed(): Promise<void>;
  readonly lose: Map<string, (why: string) => void>;
  /** Opening waits for a call of `release`, or fails with this. */
  hold: boolean;
  release(): Promise<void>;
  failsWith: string | undefined;
  watchable: boolean;
}

function scene(): Scene {
  const clock = createFakeClock();
  const acts: string[] = [];
  const said: string[] = [];
  const held: (() => void)[] = [];
  let list: NetnsList = { found: [], unready: [] };
  let watching: WatchHandlers | undefined;
  const lose: Scene['lose'] = new Map();
  const guards = createNetnsGuards({
    clock,
    log: { write: (level, message) => void said.push(`${level}: ${message}`) },
    modeFor: (name) => (name === 'z' ? undefined : 'merge'),
    list: () => Promise.resolve(list),
    watch: (handlers) => {
      if (self.watchable) watching = handlers;
      else handlers.failed('no such folder');
      return { close: () => (watching = undefined) };
    },
    async open({ name, life }) {
      const id = `${name}${life}`;
      acts.push(`+${id}`);
      if (self.hold) await new Promise<void>((resolve) => held.push(resolve));
      if (self.failsWith !== undefined) throw new Error(self.failsWith);
      const lost = new Promise<string>((resolve) => lose.set(id, resolve));
      const status = (): ReturnType<NetnsGuard['status']> => ({ mode: 'merge', snapshot: 'f00', passes: 1, drift: {} });
      return { status, lost, stop: async (gone) => void acts.push(`-${id}${gone === undefined ? '' : ' gone'}`) };
    },
  });
  const self: Scene = {
    guards,
    clock,
    acts,
    said,
    lose,
    hold: false,
    failsWith: undefined,
    watchable: true,
    folder: (text) => {
      const words = text.split(' ').filter((word) => word !== '');
      const [unready, found] = [
        words.filter((word) => word.endsWith('?')),
        words.filter((word) => !word.endsWith('?')),
      ];
      list = {
        found: found.map((word) => ({ name: word.slice(0, 1), life: word.slice(1) })),
        unready: unready.map((word) => word.slice(0, 1)),
      };
    },
    async changed() {
      watching?.changed();
      await clock.settle();
    },
    async release() {
      held.splice(0).forEach((resolve) => resolve());
      await clock.settle();
    },
  };
  return self;
}

describe('guards of network namespaces', () => {
  it('begin with those that are there and named, and follow the folder', async () => {
    const it = scene();
    it.folder('a1 z1');
    it.guards.start();
    await it.clock.settle();
    expect(it.acts).toEqual(['+a1']);
    it.folder('a1 b1 z1');
    await it.changed();
    it.folder('b1');
    await it.changed();
    expect(it.acts).toEqual(['+a1', '+b1', '-a1 gone']);
    expect(it.guards.status()).toEqual([
      { name: 'b', mode: 'merge', state: 'guarded', why: undefined, snapshot: 'f00', passes: 1, drift: {} },
    ]);
  });

  it('find out by themselves when no event comes, in 10 s; in 1 s where the folder cannot be watched', async () => {
    const it = scene();
    it.watchable = false;
    it.guards.start();
    await it.clock.settle();
    it.folder('a1');
    await it.clock.advance(1_000);
    expect(it.acts).toEqual(['+a1']);
    it.watchable = true;
    await it.clock.advance(1_000);
    it.folder('');
    await it.clock.advance(9_000);
    expect(it.acts).toEqual(['+a1']);
    await it.clock.advance(1_000);
    expect(it.acts).toEqual(['+a1', '-a1 gone']);
  });

  it('wait some milliseconds for a namespace whose name is there first', async () => {
    const it = scene();
    it.folder('a?');
    it.guards.start();
    await it.clock.settle();
    it.folder('a1');
    await it.clock.advance(20);
    expect(it.acts).toEqual(['+a1']);
  });

  it('are not shared by two lives of a name, and the old one ends before the new one begins', async () => {
    const it = scene();
    it.folder('a1');
    it.guards.start();
    await it.clock.settle();
    it.folder('a2');
    await it.changed();
    expect(it.acts).toEqual(['+a1', '-a1 gone', '+a2']);
  });

  it('end also when the namespace goes while its guard is being opened', async () => {
    const it = scene();
    it.hold = true;
    it.folder('a1');
    it.guards.start();
    await it.clock.settle();
    it.folder('');
    await it.changed();
    it.folder('a2');
    await it.changed();
    expect(it.acts).toEqual(['+a1']);
    await it.release();
    expect(it.acts).toEqual(['+a1', '-a1 gone', '+a2']);
  });

  it('begin two at a time, and one that waits for its turn is not begun for a namespace that is gone', async () => {
    const it = scene();
    it.hold = true;
    it.folder('a1 b1 c1 d1');
    it.guards.start();
    await it.clock.settle();
    expect(it.acts).toEqual(['+a1', '+b1']);
    it.folder('a1 b1 d1');
    await it.changed();
    await it.release();
    expect(it.acts).toEqual(['+a1', '+b1', '+d1']);
  });

  it('that cannot begin are said once, shown, and tried again after 30 s', async () => {
    const it = scene();
    it.failsWith = 'the rules cannot be read';
    it.folder('a1');
    it.guards.start();
    await it.clock.advance(65_000);
    expect(it.acts).toEqual(['+a1', '+a1', '+a1']);
    expect(it.said).toEqual(['warning: netns a: not guarded: the rules cannot be read']);
    expect(it.guards.status()).toMatchObject([{ name: 'a', state: 'failed', why: 'the rules cannot be read' }]);
    it.failsWith = undefined;
    await it.clock.advance(40_000);
    expect(it.guards.status()).toMatchObject([{ name: 'a', state: 'guarded', why: undefined }]);
  });

  it('that lost their place are ended, and tried again', async () => {
    const it = scene();
    it.folder('a1');
    it.guards.start();
    await it.clock.settle();
    it.lose.get('a1')?.('another mendwall has it');
    await it.clock.settle();
    expect(it.acts).toEqual(['+a1', '-a1']);
    await it.clock.advance(40_000);
    expect(it.acts).toEqual(['+a1', '-a1', '+a1']);
  });

  it('all end with the daemon, also the one being opened, and no more begins', async () => {
    const it = scene();
    it.folder('a1');
    it.guards.start();
    await it.clock.settle();
    it.hold = true;
    it.folder('a1 b1');
    await it.changed();
    const stopped = it.guards.stop();
    await it.release();
    await stopped;
    await it.clock.advance(60_000);
    expect(it.acts.toSorted()).toEqual(['+a1', '+b1', '-a1', '-b1']);
    expect(it.clock.pending()).toBe(0);
  });
});
