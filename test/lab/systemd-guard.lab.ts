// The daemon itself, in its own unit, under a real systemd as pid 1 of private namespaces: confined as it ships.

import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { REPOSITORY } from './namespaces.ts';
import { upPrivateSystemd, type PrivateSystemd } from './private-systemd.ts';

const UNITS = ['mendwall-boot.service', 'mendwall.service', 'mendwall-mend.path', 'mendwall-mend.service'];
const PROGRAM = `#!/bin/sh\nexec ${process.execPath} /usr/lib/mendwall/mendwall.cjs "$@"\n`;
const RULES = [
  '*filter',
  ':INPUT ACCEPT [0:0]',
  ':FORWARD DROP [0:0]',
  '-A INPUT -i lo -j ACCEPT',
  '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT',
  '-A FORWARD -s 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable',
  'COMMIT',
  '',
].join('\n');

let systemd: PrivateSystemd;

beforeAll(async () => {
  systemd = await upPrivateSystemd({
    units: UNITS.map((unit) => join(REPOSITORY, 'systemd', unit)),
    programs: { mendwall: PROGRAM, 'mendwall-hook': readFileSync(join(REPOSITORY, 'hooks/mendwall-hook'), 'utf8') },
  });
  cpSync(join(REPOSITORY, 'dist'), join(systemd.shared, 'program'), { recursive: true });
  await systemd.sh('mkdir -p /usr/lib/mendwall /etc/mendwall && cp -r /run/lab/program/. /usr/lib/mendwall/');
  await systemd.sh(
    'mkdir -p /etc/libvirt/hooks/network.d && cp /usr/bin/mendwall-hook /etc/libvirt/hooks/network.d/50-mendwall',
  );
  await systemd.sh(`echo 'mode = "merge"' >/etc/mendwall/mendwall.toml`);
  await systemd.sh('iptables-restore', { input: RULES });
  await systemd.sh('mkdir -p /run/mendwall && mendwall init');
});

afterAll(async () => systemd?.down());

async function rules(): Promise<string[]> {
  const { stdout } = await systemd.exec('iptables-save', ['-t', 'filter']);
  return stdout.split('\n').filter((line) => line.startsWith('-A') || line.includes(' DROP '));
}

async function until(condition: () => Promise<boolean>, timeoutMs = 10_000): Promise<boolean> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('the daemon in its unit, under a real systemd', () => {
  it('says READY=1, and puts back what a flush took', async () => {
    const before = await rules();
    await systemd.sh('systemctl start mendwall.service');
    expect(await systemd.show('mendwall.service', 'ActiveState'), await systemd.journal('mendwall.service')).toBe(
      'active',
    );
    await systemd.sh('iptables -F; iptables -P FORWARD ACCEPT');
    const back = await until(async () => (await rules()).length >= before.length - 1);
    expect(back, await systemd.journal('mendwall.service')).toBe(true);
    expect((await rules()).filter((line) => line.startsWith('-A'))).toEqual(
      before.filter((line) => line.startsWith('-A')),
    );
    expect(await systemd.journal('mendwall.service')).toMatch(/mended ip filter: wipe of ip filter/);
  });

  it('answers on its socket, and its stop leaves every rule', async () => {
    const status = await systemd.exec('mendwall', ['status', '--json']);
    expect(JSON.parse(status.stdout)).toMatchObject({ schema: 1, mode: 'merge' });
    const before = await rules();
    await systemd.sh('systemctl stop mendwall.service');
    expect(await systemd.show('mendwall.service', 'Result')).toBe('success');
    expect(await rules()).toEqual(before);
  });

  it('without it, the path unit runs one mend for what a hook said, and the spool is empty after it', async () => {
    const before = await rules();
    await systemd.sh('systemctl start mendwall-mend.path');
    await systemd.sh('iptables -F INPUT');
    await systemd.sh('/etc/libvirt/hooks/network.d/50-mendwall default started begin - </dev/null');
    expect(await until(async () => (await rules()).length === before.length), await systemd.journal()).toBe(true);
    expect(await rules()).toEqual(before);
    expect((await systemd.sh('ls /run/mendwall/spool')).trim()).toBe('');
  });

  it('the boot unit loads rules and their sets into an empty host; without a set it fails, and the rest stands', async () => {
    await systemd.sh('systemctl stop mendwall-mend.path; ipset create bad hash:ip; ipset add bad 192.0.2.1');
    await systemd.sh('iptables -A INPUT -m set --match-set bad src -j DROP; mendwall snapshot --yes');
    const before = await rules();
    await systemd.sh('nft flush ruleset; ipset destroy; systemctl start mendwall-boot.service');
    expect(await rules(), await systemd.journal('mendwall-boot.service')).toEqual(before);
    expect(await systemd.sh('ipset save')).toContain('add bad 192.0.2.1');
    await systemd.sh('systemctl stop mendwall-boot.service; rm /var/lib/mendwall/snapshots/*/user.ipset');
    expect(await rules()).toEqual(before);
    await systemd.sh('nft flush ruleset; ipset destroy; systemctl start mendwall-boot.service || :');
    expect(await systemd.show('mendwall-boot.service', 'ActiveState')).toBe('failed');
    expect(await systemd.journal('mendwall-boot.service')).toMatch(/user\.v4:\d+:\d+: "bad": .*Set bad doesn't exist/);
    expect(await rules()).toEqual(before.filter((line) => !line.includes('bad')));
  });
});
