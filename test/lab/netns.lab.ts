// Network namespaces beside a host with libvirt: `--netns` by hand, and those that `[[netns]]` names, guarded by the daemon as
// they come and go.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { NamespaceStatus } from '../../src/verbs/status.ts';
import { type GuardProcess, initGuard, mendwall, startGuard } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { report } from './netns-host.ts';

const CONFIG = '/etc/mendwall/mendwall.toml';
const MINE = '-A INPUT -s 10.7.7.7/32 -j DROP';
const HOSTS = '-A INPUT -s 10.1.1.1/32 -j DROP';
const TIMES = 10;

let host: Hypervisor;
let guard: GuardProcess | undefined;

beforeAll(async () => {
  host = await upHypervisor({ name: 'netns', libvirt: '9' });
  await host.sh(`iptables ${HOSTS}; mkdir -p /etc/mendwall`);
  host.writeFile(CONFIG, '[[netns]]\npattern = "qrouter-*"\nmode = "merge"\n');
  await initGuard(host);
});

afterAll(async () => {
  await guard?.stop();
  await host.down();
});

const inside = (name: string, script: string): Promise<string> => host.sh(`ip netns exec ${name} ${script}`);
const rulesOf = (name: string): Promise<string> => inside(name, 'iptables-save');
const add = (name: string, rule = MINE): Promise<string> =>
  host.sh(`ip netns add ${name}; ip netns exec ${name} iptables ${rule}`);

async function until(what: string, holds: () => Promise<boolean>): Promise<number> {
  const startedMs = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedMs > 20_000) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  return performance.now() - startedMs;
}

async function namespaces(): Promise<readonly NamespaceStatus[]> {
  return (await guard?.status())?.namespaces ?? [];
}

async function guarded(name: string): Promise<void> {
  await until(`${name} is guarded`, async () =>
    (await namespaces()).some((each) => each.name === name && each.state === 'guarded' && each.passes >= 2),
  );
}

const gone = (name: string): Promise<number> =>
  until(`${name} is let go`, async () => !(await host.sh('ls /run/mendwall/netns')).includes(name));

/** `nft monitor` processes in here. */
const monitors = async (): Promise<number> => Number(await host.sh('pgrep -fc "^nft monitor" || true'));

describe('--netns', () => {
  it('works on one namespace with folders of its own, and asks libvirt nothing there', async () => {
    await add('blue');
    const init = await mendwall(host, '--netns', 'blue', 'init', '-v');
    expect(init).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(MINE) as string });
    expect(await host.sh('ls /var/lib/mendwall/netns')).toBe('blue\n');
    await inside('blue', 'nft flush ruleset');
    await mendwall(host, 'mend', '--mode', 'merge', '--netns=blue');
    expect(await rulesOf('blue')).toContain(MINE);
    expect(await rulesOf('blue')).not.toContain('LIBVIRT');
    const diff = await mendwall(host, '--netns', 'blue', 'diff');
    expect(diff).toMatchObject({ exitCode: 0, stdout: '' });
    expect((await mendwall(host, '--netns', 'blue', 'status')).stdout).not.toContain('192.168.122');
  });

  it('says which names there are when it is none', async () => {
    const told = await mendwall(host, '--netns', 'bleu', 'status');
    expect(told).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('did you mean "blue"') as string });
    expect(await mendwall(host, '--netns', 'blue', 'hooks', 'status')).toMatchObject({ exitCode: 2 });
  });
});

describe('[[netns]]', () => {
  beforeEach(async () => {
    guard ??= await startGuard(host);
  });

  it('puts back what a flush took in one namespace, and leaves the host and the other ones alone', async () => {
    await Promise.all([add('qrouter-1'), add('qrouter-2'), add('other')]);
    await Promise.all([guarded('qrouter-1'), guarded('qrouter-2')]);
    const before = await host.sh('nft -s -a list ruleset');
    for (const flush of ['iptables -F', 'nft flush ruleset']) {
      await inside('qrouter-1', flush);
      const ms = await until(`back after ${flush}`, async () => (await rulesOf('qrouter-1')).includes(MINE));
      report(`  ${flush} in a namespace: back after ${Math.round(ms)} ms, 50 ms of settle in it`);
    }
    expect(await host.sh('nft -s -a list ruleset')).toBe(before);
    await inside('other', 'iptables -F');
    const two = await inside('qrouter-2', 'nft -s -a list ruleset');
    await host.sh('iptables -F INPUT');
    await until('the host is whole', async () => (await host.sh('iptables-save')).includes(HOSTS));
    expect(await inside('qrouter-2', 'nft -s -a list ruleset')).toBe(two);
    expect(await rulesOf('other')).not.toContain(MINE);
    expect(await rulesOf('qrouter-1')).not.toContain('LIBVIRT');
  });

  it('lists them in status, and commands with --netns reach the guard', async () => {
    const { stdout } = await mendwall(host, 'status');
    expect(stdout).toMatch(/^qrouter-1 +merge +guarded +[0-9a-f]{16} +none$/m);
    expect(stdout).not.toMatch(/^other/m);
    const json = JSON.parse((await mendwall(host, 'status', '--json')).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({ daemon: { namespaces: [{ name: 'qrouter-1' }, { name: 'qrouter-2' }] } });
    const { pid } = (await guard?.status()) ?? {};
    expect((await mendwall(host, '--netns', 'qrouter-1', 'status')).stdout).toContain(`running (pid ${pid})`);
    await inside('qrouter-1', 'iptables -A INPUT -s 10.8.8.8 -j DROP');
    expect((await mendwall(host, '--netns', 'qrouter-1', 'snapshot')).stdout).toContain('10.8.8.8');
    expect((await mendwall(host, '--netns', 'qrouter-1', 'run')).exitCode).toBe(4);
  });

  it('puts the rules of the last life back into a namespace made anew, and takes nothing out of it', async () => {
    await host.sh('ip netns del qrouter-1');
    await gone('qrouter-1');
    await host.sh('ip netns add qrouter-1');
    await until('the rules are back', async () => (await rulesOf('qrouter-1')).includes('10.8.8.8'));
    await host.sh('ip netns del qrouter-2');
    await gone('qrouter-2');
    const makers = ['-A INPUT -s 10.9.9.9/32 -j ACCEPT', '-A FORWARD -i eth0 -j DROP'];
    await host.sh(
      `ip netns add new; ip netns exec new iptables ${makers[0]}; ip netns exec new iptables ${makers[1]}
       ip netns exec new nft add table inet own; touch /run/netns/qrouter-2; mount --bind /run/netns/new /run/netns/qrouter-2
       umount /run/netns/new; rm /run/netns/new`,
    );
    await guarded('qrouter-2');
    await guard?.idle();
    for (const rule of makers) expect(await rulesOf('qrouter-2')).toContain(rule);
    expect(await inside('qrouter-2', 'nft list tables')).toContain('inet own');
  });

  it('leaks nothing when a namespace comes and goes', async () => {
    const { pid } = (await guard?.status()) ?? {};
    const count = async (): Promise<readonly unknown[]> => [
      (await host.sh(`ls /proc/${pid}/fd`)).trim().split('\n').length,
      await monitors(),
      await host.sh('ls /run/mendwall/netns; ls /run/mendwall'),
      (await host.sh('readlink /proc/[0-9]*/ns/net | sort -u | wc -l')).trim(),
    ];
    await add('qrouter-x');
    await guarded('qrouter-x');
    await host.sh('ip netns del qrouter-x');
    await gone('qrouter-x');
    const before = await count();
    const times: number[] = [];
    for (let at = 0; at < TIMES; at++) {
      await host.sh('ip netns add qrouter-x');
      // Some go while they are being taken in.
      if (at % 2 === 0) await guarded('qrouter-x');
      await host.sh('ip netns del qrouter-x');
      times.push(await gone('qrouter-x'));
    }
    await until('all is as before', async () => JSON.stringify(await count()) === JSON.stringify(before));
    report(`  a namespace that goes is let go within ${Math.round(Math.max(...times))} ms`);
  });

  it('leaves no listener in a namespace when it is killed, so that the namespace can end', async () => {
    await guarded('qrouter-1');
    const inode = (await inside('qrouter-1', 'readlink /proc/self/ns/net')).trim();
    const holders = async (): Promise<string> => host.sh(`readlink /proc/[0-9]*/ns/net | grep -cF '${inode}' || true`);
    expect(await holders()).toBe('1\n');
    await guard?.kill();
    guard = undefined;
    await until('nobody is in there', async () => (await holders()) === '0\n');
    expect(await rulesOf('qrouter-1')).toContain(MINE);
  });
});
