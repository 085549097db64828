import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createNftMonitor } from '../../src/events/nft-monitor.ts';
import type { Author, GuardEvent, SourceHealth } from '../../src/events/types.ts';
import { fakeHost, pass, type FakeHost } from './fake-child.ts';

const RULE = 'add rule ip filter FORWARD counter packets 0 bytes 0 accept';
const generation = (id: number): string => `# new generation ${id} by process 77 (iptables)`;
/** As the kernel shows a joined monitor: protocol 12, group mask 0x140, inode 32071. */
const JOINED = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000b6128166 4   0          00000000 0        0        0     2        0        32064   
00000000b49dc138 12  12452      00000140 0        0        0     2        0        32071   
`;

function play(fake: FakeHost) {
  const events: GuardEvent[] = [];
  const health: SourceHealth[] = [];
  const authors: string[] = [];
  const readAuthor = (pid: number, comm: string): Author => {
    authors.push(`${comm} ${pid} before event ${events.length}`);
    return { pid, comm, cmdline: ['iptables', '-F'], parents: [] };
  };
  const source = createNftMonitor({ host: fake.host, readAuthor });
  const start = (): Promise<void> =>
    source.start({ event: (event) => void events.push(event), health: (value) => void health.push(value) });
  const join = async (): Promise<void> => {
    const { pid } = fake.child();
    fake.proc.set(`/proc/${pid}/net/netlink`, JOINED).set(`/proc/${pid}/fd/3`, 'socket:[32071]');
    await pass(300);
  };
  const looks = (): string[] => events.flatMap((event) => (event.kind === 'look' ? [event.reason] : []));
  const kinds = (): string[] => events.map((event) => event.kind);
  return { source, start, join, events, health, authors, looks, kinds };
}

describe('the kernel event source', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('runs nft monitor without a filter, and looks when it starts and when it has joined', async () => {
    const fake = fakeHost();
    const { start, join, looks, health } = play(fake);
    await start();
    expect(fake.child().command).toEqual({ file: 'nft', args: ['monitor'] });
    expect(looks()).toEqual(['nft monitor starts: changes are not heard until it has joined']);
    await pass(300);
    expect(health.at(-1)?.state).toBe('starting');
    await join();
    expect(looks().slice(1)).toEqual(['nft monitor has joined: changes before this were not heard']);
    expect(health.at(-1)).toEqual({ source: 'kernel', state: 'ok', detail: 'nft monitor pid 100' });
  });

  it('does not take another process’s listener in the same namespace for its own', async () => {
    const fake = fakeHost();
    const { start, health } = play(fake);
    await start();
    fake.proc.set('/proc/100/net/netlink', JOINED).set('/proc/100/fd/3', 'socket:[99]');
    await pass(1000);
    expect(health.at(-1)?.state).toBe('starting');
  });

  it('looks again and again, ever more rarely, while it is blind', async () => {
    const { start, looks } = play(fakeHost());
    await start();
    await pass(15_000);
    expect(looks().filter((reason) => reason.includes('still'))).toHaveLength(3); // after 2, 6 and 14 s
  });

  it('a line proves that it has joined', async () => {
    const fake = fakeHost();
    const { start, kinds, health } = play(fake);
    await start();
    fake.child().say(RULE);
    expect(health.at(-1)?.state).toBe('ok');
    expect(kinds()).toEqual(['look', 'look', 'touched']);
  });

  it('looks for a transaction whose generation line does not come, once', async () => {
    const fake = fakeHost();
    const { start, join, looks } = play(fake);
    await start();
    await join();
    fake.child().say('add rule inet c in jump __chain15');
    await pass(1_999);
    expect(looks().slice(2)).toEqual([]);
    await pass(60_000);
    expect(looks().slice(2)).toEqual(['a transaction without a generation line']);
  });

  it('does not look while its lines still come, nor after its end', async () => {
    const fake = fakeHost();
    const { start, join, looks } = play(fake);
    await start();
    await join();
    for (let round = 0; round < 5; round += 1) {
      fake.child().say(RULE);
      await pass(1_500);
    }
    fake.child().say(generation(2));
    await pass(60_000);
    expect(looks().slice(2)).toEqual([]);
  });

  it('gives a commit with the author read before the event goes out', async () => {
    const fake = fakeHost();
    const { start, join, events, authors } = play(fake);
    await start();
    await join();
    fake.child().say(RULE, generation(5));
    expect(authors).toEqual(['iptables 77 before event 3']);
    expect(events[3]).toMatchObject({
      kind: 'commit',
      commit: { generation: 5, author: { pid: 77, cmdline: ['iptables', '-F'] } },
    });
  });

  it('reads no author when the kernel names none', async () => {
    const fake = fakeHost();
    const { start, join, events, authors } = play(fake);
    await start();
    await join();
    fake.child().say(RULE, '# new generation 5');
    expect(authors).toEqual([]);
    expect(events.at(-1)).toMatchObject({ commit: { author: { pid: 0, cmdline: undefined, parents: [] } } });
  });

  it('gives commits again once the stream is quiet after a loss', async () => {
    const fake = fakeHost();
    const { start, join, kinds } = play(fake);
    await start();
    await join();
    fake.child().say(RULE, generation(5), '# ERROR: We lost some netlink events!', RULE, generation(6));
    await pass(60);
    fake.child().say(RULE, generation(7));
    expect(kinds().slice(2)).toEqual(['touched', 'commit', 'look', 'touched', 'look', 'touched', 'commit']);
  });

  it('gives commits again after 5 s even when the stream is never quiet', async () => {
    const fake = fakeHost();
    const { start, join, events } = play(fake);
    await start();
    await join();
    fake.child().say(RULE, generation(1), '# ERROR: We lost some netlink events!');
    let id = 1;
    for (let round = 0; round < 300; round += 1) {
      fake.child().say(RULE, generation((id += 1)));
      await pass(20);
    }
    const commits = events.flatMap((event) => (event.kind === 'commit' ? [event.commit.generation] : []));
    expect(commits[0]).toBe(1);
    expect(commits[1]).toBeGreaterThan(200);
    expect(commits.at(-1)).toBe(301);
  });

  it('starts again when the child ends, in the middle of a transaction too, with a growing pause', async () => {
    const fake = fakeHost();
    const { start, join, looks, health, kinds } = play(fake);
    await start();
    await join();
    fake.child().say('delete table ip filter');
    fake.child().end('nft: ended by SIGSEGV');
    expect(looks().at(-1)).toBe('nft monitor ended');
    expect(health.at(-1)).toMatchObject({
      state: 'degraded',
      detail: 'nft monitor ended (nft: ended by SIGSEGV); again in 100 ms',
    });
    await pass(100);
    fake.child().end('nft: ended by SIGSEGV');
    expect(health.at(-1)?.detail).toContain('again in 200 ms');
    await pass(200);
    expect(fake.children).toHaveLength(3);
    expect(looks().filter((reason) => reason.includes('starts'))).toHaveLength(3);
    fake.child().say(RULE, generation(6));
    expect(kinds().filter((kind) => kind === 'commit')).toEqual([]);
  });

  it('the pause doubles up to 30 s, and is short again after a long life', async () => {
    const fake = fakeHost();
    const { start, health } = play(fake);
    await start();
    const pauseAfterEnd = (): number => {
      fake.child().end('gone');
      return Number(/again in (\d+) ms/.exec(health.at(-1)?.detail ?? '')?.[1]); // again in 200 ms
    };
    const pauses: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      const pauseMs = pauseAfterEnd();
      pauses.push(pauseMs);
      await pass(pauseMs);
    }
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
    await pass(10_000);
    expect(pauseAfterEnd()).toBe(100);
  });

  it('says nothing more after close, and ends the child', async () => {
    const fake = fakeHost();
    const { start, join, source, events } = play(fake);
    await start();
    await join();
    const before = events.length;
    await source.close();
    fake.child().say(RULE, generation(5));
    fake.child().end('closed');
    await pass(60_000);
    expect(fake.child().closed).toBe(true);
    expect(events).toHaveLength(before);
    expect(fake.children).toHaveLength(1);
  });
});
