// The lab itself, where it measures milliseconds or looks at every process of the machine: the kernel gives the number of a
// namespace that is gone to the next one, which may be another test's.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

import { installUserRules, iptables } from './actors.ts';
import { monoMs } from './agents.ts';
import { upHypervisor, type Hypervisor, type HypervisorOptions } from './host.ts';
import { REPOSITORY } from './namespaces.ts';
import { outages, startProber } from './probes.ts';

let running: Hypervisor[] = [];

async function up(options: Omit<HypervisorOptions, 'name'> = {}): Promise<Hypervisor> {
  const hypervisor = await upHypervisor({ name: `mwl-${running.length}`, ...options });
  running.push(hypervisor);
  return hypervisor;
}

afterEach(async () => {
  await Promise.all(running.map((hypervisor) => hypervisor.down()));
  running = [];
});

/** Namespaces of one kind that any process of the machine is in. */
function namespacesInUse(kind: 'net' | 'mnt' | 'pid'): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const link = namespaceOf(pid, kind);
    if (link !== undefined) found.add(link);
  }
  return found;
}

function namespaceOf(pid: string, kind: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // The process ended while we looked, or (EACCES) belongs to whoever runs this container: not ours in any case.
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return undefined;
    throw error;
  }
}

async function until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  const endMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 20));
  return condition();
}

describe('the continuous prober', () => {
  it('sees an outage of the length that a rule was there, and nothing lost without one', async () => {
    const hypervisor = await up();
    await hypervisor.addGuest();
    await installUserRules(hypervisor);
    const prober = startProber(hypervisor);
    await new Promise((resolve) => setTimeout(resolve, 500));
    const sinceMs = monoMs();
    await iptables(hypervisor, '-I FORWARD 1 -j DROP');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await iptables(hypervisor, '-D FORWARD 1');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const samples = await prober.stop();
    expect(samples.filter((sample) => sample.sentMs < sinceMs && !sample.ok)).toEqual([]);
    const gaps = Object.fromEntries(outages(samples, sinceMs).map((outage) => [outage.kind, outage]));
    expect(gaps['dns']).toMatchObject({ lost: 0, gapMs: 0, backAtEnd: true });
    expect(gaps['natOut']!.gapMs).toBeGreaterThan(250);
    expect(gaps['natOut']!.gapMs).toBeLessThan(700);
    expect(gaps['portForwardIn']).toMatchObject({ backAtEnd: true });
    expect(gaps['portForwardIn']!.gapMs).toBeGreaterThan(250);
  });
});

describe('what is left behind', () => {
  it('is nothing: no namespace, process or mount after down(), two side by side', async () => {
    const mountsBefore = readFileSync('/proc/self/mountinfo', 'utf8');
    const hypervisors = [await up(), await up({ engine: 'legacy' })];
    for (const hypervisor of hypervisors) await hypervisor.addGuest();
    const own = (['net', 'mnt', 'pid'] as const).map((kind) => ({
      kind,
      links: hypervisors.map((hypervisor) => namespaceOf(String(hypervisor.pid), kind)!),
    }));
    expect(new Set(own.flatMap(({ links }) => links)).size).toBe(6);
    for (const hypervisor of hypervisors) await hypervisor.down();
    for (const { kind, links } of own) {
      expect(links.filter((link) => namespacesInUse(kind).has(link))).toEqual([]);
    }
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mountsBefore);
  });

  it('is nothing even when the test process is killed with kill -9', async () => {
    const script = `
      const { upHypervisor } = await import('${join(REPOSITORY, 'test/lab/host.ts')}');
      const hypervisor = await upHypervisor({ name: 'mwl-killed' });
      await hypervisor.addGuest();
      console.log('up ' + hypervisor.pid);
      setInterval(() => {}, 1000);`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', script];
    const child = spawn(process.execPath, args, { cwd: REPOSITORY, stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = await new Promise<string>((resolve) => {
      child.stdout.on('data', (chunk: Buffer) => {
        const said = /up (\d+)/.exec(chunk.toString()); // up 4711
        if (said) resolve(said[1]!);
      });
    });
    const own = namespaceOf(pid, 'pid')!;
    const wasThere = namespacesInUse('pid').has(own);
    child.kill('SIGKILL');
    expect(wasThere).toBe(true);
    expect(await until(() => !namespacesInUse('pid').has(own), 10_000)).toBe(true);
  });

  it('is nothing in a place where a program hangs: the timeout ends it with its children', async () => {
    const hypervisor = await up({ libvirt: false });
    const result = await hypervisor.exec('sh', ['-c', 'sleep 1234 & wait'], { timeoutMs: 300 });
    expect(result).toMatchObject({ timedOut: true });
    expect(await hypervisor.sh('ps ax -o args')).not.toContain('sleep 1234');
  });
});
