// The Ansible role with the real ansible-playbook: eight network namespaces are the hosts, the hypervisor is the control machine.
// A host's connection is a shell in its namespace; that it can be reached is tried with real packets to its port 22.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { ExecResult } from '../../src/host/host.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { REPOSITORY } from './namespaces.ts';
import type { LabProcess } from './place.ts';

const NAMES = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `h${number}`);
const ADMIN = '10.9.0.254';
const PLAYBOOK = join(REPOSITORY, 'docs/ansible/rollout.yml');
const TEMPLATE = `*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s {{ admin }} -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
`;

let control: Hypervisor;
const listeners: LabProcess[] = [];

const HOST_VARS = `
ansible_connection=local
ansible_python_interpreter=/usr/bin/python3
ansible_remote_tmp=/run/lab/remote
mendwall_become=false
mendwall_command=["${process.execPath}","${join(REPOSITORY, 'dist/mendwall.cjs')}"]
mendwall_files=[{"name":"10-base.v4","src":"/run/lab/base.v4.j2"}]
mendwall_trial=60
mendwall_health_timeout=4
mendwall_health_port=22
`;

/** `admin` of the third host is another's address: its rules lock the control machine out. */
function inventory(thirdAdmin: string): string {
  const hosts = NAMES.map((name, index) => {
    const admin = name === 'h3' ? thirdAdmin : ADMIN;
    return `${name} ansible_host=10.9.0.${index + 1} ansible_shell_executable=/run/lab/${name} mendwall_state=/var/lib/${name} admin=${admin}`;
  });
  return `[all]\n${hosts.join('\n')}\n[all:vars]${HOST_VARS}`;
}

beforeAll(async () => {
  control = await upHypervisor({ name: 'mwz-fleet', libvirt: false });
  await control.sh(
    `ip link add fleet type bridge; ip link set fleet up; ip addr add ${ADMIN}/24 dev fleet; mkdir -p /run/lab`,
  );
  for (const [index, name] of NAMES.entries()) {
    await control.sh(
      `ip netns add ${name}; ip -n ${name} link set lo up
      ip link add to-${name} type veth peer name eth0 netns ${name}; ip link set to-${name} master fleet up
      ip -n ${name} addr add 10.9.0.${index + 1}/24 dev eth0; ip -n ${name} link set eth0 up
      mkdir -p /etc/netns/${name}/mendwall /var/lib/${name} /etc/mendwall
      printf '[paths]\\nstate = "/var/lib/${name}"\\nrun = "/run/${name}"\\n' >/etc/netns/${name}/mendwall/mendwall.toml
      chmod -R go-w /etc/netns
      printf '#!/bin/sh\\nexec ip netns exec ${name} /bin/sh "$@"\\n' >/run/lab/${name}; chmod 755 /run/lab/${name}`,
    );
    listeners.push(control.spawn('ip', ['netns', 'exec', name, 'python3', '-m', 'http.server', '22']));
  }
  control.writeFile('/run/lab/base.v4.j2', TEMPLATE);
}, 60_000);

afterAll(async () => {
  await Promise.all(listeners.map((listener) => listener.stop()));
  await control?.down();
});

function play(thirdAdmin: string, ...args: readonly string[]): Promise<ExecResult> {
  control.writeFile('/run/lab/inventory', inventory(thirdAdmin));
  return control.exec('ansible-playbook', ['-i', '/run/lab/inventory', PLAYBOOK, ...args], {
    timeoutMs: 180_000,
    env: {
      ANSIBLE_HOME: '/run/lab/ansible',
      ANSIBLE_LOCAL_TEMP: '/run/lab/ansible',
      ANSIBLE_NOCOLOR: '1',
      ANSIBLE_PIPELINING: '1',
    },
  });
}

/** The host's filter rules; '' for a host without any. */
async function rulesOf(name: string): Promise<string> {
  const text = await control.sh(`ip netns exec ${name} iptables-save -t filter`);
  return text
    .split('\n')
    .filter((line) => line.startsWith('-A') || line.includes('DROP'))
    .join('\n');
}

/** `h1 : ok=14 changed=3 unreachable=0 failed=0 ...` of the recap. */
function recap({ stdout }: ExecResult, name: string): Record<string, number> {
  const line = new RegExp(`^${name} +: (.*)$`, 'm').exec(stdout.slice(stdout.indexOf('PLAY RECAP')))?.[1] ?? '';
  return Object.fromEntries([...line.matchAll(/(\w+)=(\d+)/g)].map(([, key, value]) => [key, Number(value)]));
}

describe('the role on eight hosts', () => {
  it('--check --diff shows what would change, and changes nothing', async () => {
    const result = await play(ADMIN, '--check', '--diff', '--limit', 'h1');
    expect(result.exitCode, result.stdout + result.stderr).toBe(0);
    expect(result.stdout).toContain(`+-A INPUT -s ${ADMIN} -p tcp -m tcp --dport 22 -j ACCEPT`);
    expect(recap(result, 'h1')['changed']).toBeGreaterThan(0);
    expect(await rulesOf('h1')).toBe('');
    expect(await control.sh('find /etc/netns/h1 -name "*.v4"')).toBe('');
  });

  it('ends at the third, whose rules lock it out: two done, the third rolled back, five untouched, and says so', async () => {
    const result = await play('10.9.9.9');
    const said = result.stdout + result.stderr;
    expect(result.exitCode, said).not.toBe(0);
    for (const name of ['h1', 'h2']) expect(await rulesOf(name), said).toContain(`-s ${ADMIN}/32`);
    for (const name of NAMES.slice(2)) expect(await rulesOf(name), said).toBe('');
    expect(said).toMatch(
      /h3 was rolled back \(reach its port from the control machine: .*\); done: h1 h2; .*untouched: h4 h5 h6 h7 h8/s,
    );
    expect(await control.sh('ls /etc/netns/h3/mendwall/rules.d')).toBe('');
    expect(await control.sh('ls /var/lib/h4')).toBe('');
    expect(recap(result, 'h3')).toMatchObject({ failed: 1 });
  });

  it('says unchanged of a host that has the rules, and changed of the third once it is right', async () => {
    const result = await play(ADMIN, '--limit', 'h1,h3');
    const said = result.stdout + result.stderr;
    expect(result.exitCode, said).toBe(0);
    expect(recap(result, 'h1'), said).toMatchObject({ changed: 0, failed: 0 });
    expect(recap(result, 'h3')['changed'], said).toBeGreaterThan(0);
    expect(await rulesOf('h3')).toContain(`-s ${ADMIN}/32`);
  });
});
