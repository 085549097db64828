import { describe, expect, it } from 'vitest';
import type { Author } from '../../src/events/types.ts';
import { loaderOf, neighbourOf } from '../../src/observe/author-kind.ts';

/** An author with its parents, nearest first, each as a command line; the name is the first word's, cut as the kernel does. */
function authorOf(cmdline: readonly string[], ...parents: (readonly string[])[]): Author {
  const comm = (words: readonly string[]): string => (words[0] ?? '').replace(/^.*\//, '').slice(0, 15); // /usr/sbin/iptables
  return {
    pid: 77,
    comm: comm(cmdline),
    cmdline,
    parents: parents.map((words, index) => ({ pid: 70 - index, comm: comm(words), cmdline: words })),
  };
}

const IPTABLES = ['/usr/sbin/iptables', '-w', '--table', 'nat', '--list-rules'];
const RESTORE = ['iptables-restore', '-w', '-n'];
const SHELL = ['-bash'];

describe('known neighbours', () => {
  it.each([
    ['libvirt', authorOf(IPTABLES, ['/usr/sbin/libvirtd'], ['/sbin/init']), 'parent libvirtd pid 70'],
    ['libvirt', authorOf(IPTABLES, ['/usr/sbin/virtnetworkd', '--timeout', '120']), 'parent virtnetworkd pid 70'],
    [
      'firewalld',
      authorOf(RESTORE, ['/usr/bin/python3', '/usr/sbin/firewalld', '--nofork']),
      'parent firewalld pid 70',
    ],
    ['firewalld', authorOf(['/usr/bin/python3', '-Es', '/usr/sbin/firewalld']), 'firewalld pid 77'],
    ['docker', authorOf(IPTABLES, ['/usr/bin/dockerd', '-H', 'fd://']), 'parent dockerd pid 70'],
    ['cni', authorOf(IPTABLES, ['/opt/cni/bin/portmap'], ['containerd']), 'parent portmap pid 70'],
    [
      'openstack-neutron',
      authorOf(RESTORE, ['/usr/bin/python3', '/usr/bin/neutron-rootwrap', '/etc/neutron/rootwrap.conf'], ['sudo']),
      'parent neutron-rootwrap pid 70',
    ],
    [
      'openstack-neutron',
      authorOf(RESTORE, ['/usr/bin/python3', '/usr/bin/privsep-helper', '--config-file', '/etc/neutron/neutron.conf']),
      'parent privsep-helper pid 70',
    ],
    [
      'fail2ban',
      authorOf(
        IPTABLES,
        ['/bin/sh', '-c', 'iptables -w -N f2b-sshd'],
        ['/usr/bin/python3', '/usr/bin/fail2ban-server', '-xf'],
      ),
      'ancestor fail2ban-server pid 69',
    ],
    ['shorewall', authorOf(RESTORE, ['/bin/sh', '/var/lib/shorewall/firewall', 'start']), 'parent firewall pid 70'],
    ['xen', authorOf(IPTABLES, ['/bin/bash', '/etc/xen/scripts/vif-bridge', 'online']), 'parent vif-bridge pid 70'],
  ])('%s', (name, author, evidence) => {
    expect(neighbourOf(author)).toEqual({ name, evidence });
  });

  it.each([
    ['a person', authorOf(IPTABLES, SHELL, ['sshd: root@pts/0'])],
    [
      'a libvirt hook script',
      authorOf(IPTABLES, ['/bin/sh', '/etc/libvirt/hooks/qemu', 'vm1', 'start'], ['/usr/sbin/libvirtd']),
    ],
    ['a script that is called firewall', authorOf(IPTABLES, ['/bin/sh', '/etc/init.d/firewall', 'start'])],
    ['a shell that only mentions one', authorOf(IPTABLES, ['sh', '-c', 'iptables -F # /usr/sbin/libvirtd'])],
    ['nobody that could be read', { pid: 77, comm: 'iptables', cmdline: undefined, parents: [] }],
  ])('not %s', (_, author) => {
    expect(neighbourOf(author)).toBeUndefined();
  });

  it('by its name alone when the command line was gone', () => {
    expect(neighbourOf({ pid: 9, comm: 'firewalld', cmdline: undefined, parents: [] })?.name).toBe('firewalld');
  });
});

describe('known loaders', () => {
  it.each([
    [
      'iptables.service',
      { ...authorOf(['iptables-restore', '-w', '-c']), unit: 'iptables.service' },
      'runs in iptables.service',
    ],
    [
      'iptables.init',
      authorOf(RESTORE, ['/bin/bash', '/usr/libexec/iptables/iptables.init', 'start']),
      'parent iptables.init pid 70',
    ],
    [
      'netfilter-persistent',
      authorOf(
        ['iptables-restore'],
        ['/bin/sh', '/usr/share/netfilter-persistent/plugins.d/15-ip4tables', 'start'],
        ['/bin/sh', '/usr/sbin/netfilter-persistent', 'start'],
      ),
      'ancestor netfilter-persistent pid 69',
    ],
    [
      'ferm',
      authorOf(['iptables-restore'], ['/usr/bin/perl', '/usr/sbin/ferm', '/etc/ferm/ferm.conf']),
      'parent ferm pid 70',
    ],
    [
      'arno-iptables-firewall',
      authorOf(IPTABLES, ['/bin/bash', '/usr/sbin/arno-iptables-firewall', 'restart']),
      'parent arno-iptables-firewall pid 70',
    ],
    [
      'arno-iptables-firewall.service',
      { pid: 77, comm: 'iptables', cmdline: undefined, parents: [], unit: 'arno-iptables-firewall.service' },
      'runs in arno-iptables-firewall.service',
    ],
    ['firehol', authorOf(['iptables-restore'], ['/bin/bash', '/usr/sbin/firehol', 'start']), 'parent firehol pid 70'],
    ['/etc/nftables.conf', authorOf(['/usr/sbin/nft', '-f', '/etc/nftables.conf'], ['/sbin/init']), 'nft pid 77'],
    [
      '/etc/iptables/rules.v4',
      authorOf(['iptables-restore', '/etc/iptables/rules.v4'], SHELL),
      'iptables-restore pid 77',
    ],
    [
      '/etc/iptables.rules',
      authorOf(['iptables-restore'], ['sh', '-c', 'iptables-restore < /etc/iptables.rules; true'], ['ifup', '-a']),
      'parent sh pid 70',
    ],
  ])('%s', (name, author, evidence) => {
    expect(loaderOf(author)).toEqual({ name, evidence });
  });

  it.each([
    ['a restore by hand of some file', authorOf(['iptables-restore', '/root/try.rules'], SHELL)],
    [
      'a file whose name only begins like a boot file',
      authorOf(['iptables-restore', '/etc/iptables.rules.old'], SHELL),
    ],
    [
      'an editor on the boot file further up',
      authorOf(['iptables-restore', '/tmp/x'], ['sh'], ['vi', '/etc/iptables/rules.v4']),
    ],
    ['somebody in an ssh session', { ...authorOf(RESTORE, SHELL), unit: 'session-3.scope' }],
  ])('not %s', (_, author) => {
    expect(loaderOf(author)).toBeUndefined();
  });
});
