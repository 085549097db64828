import { describe, expect, it } from 'vitest';
import type { Author } from '../../src/events/types.ts';
import { realProc } from '../../src/host/proc.ts';
import { describeAuthor, readAuthor } from '../../src/observe/author.ts';

type Files = Readonly<Record<string, string>>;

const reader = (files: Files) => ({ read: (path: string): string | undefined => files[path] });

/** The files of one process. */
function processFiles(pid: number, comm: string, parentPid: number, cmdline: readonly string[]): Files {
  const text = cmdline.map((word) => `${word}\0`).join('');
  return {
    [`/proc/${pid}/stat`]: `${pid} (${comm}) S ${parentPid} ${pid} 1 0 -1 4194560\n`,
    [`/proc/${pid}/cmdline`]: text,
  };
}

const SHELL_SESSION: Files = {
  ...processFiles(77, 'iptables-restor', 70, ['iptables-restore', '/root/rules']),
  ...processFiles(70, 'bash', 12, ['-bash']),
  ...processFiles(12, 'sshd', 5, ['sshd: root@pts/0']),
  ...processFiles(5, 'sshd', 1, ['/usr/sbin/sshd', '-D']),
  ...processFiles(1, 'systemd', 0, ['/sbin/init']),
};

describe('reading the author of a commit', () => {
  it('reads the command line and up to four parents', () => {
    const author = readAuthor(reader(SHELL_SESSION), '/proc', 77, 'iptables-restor');
    expect(author.cmdline).toEqual(['iptables-restore', '/root/rules']);
    expect(author.parents.map(({ comm, pid }) => `${comm} ${pid}`)).toEqual([
      'bash 70',
      'sshd 12',
      'sshd 5',
      'systemd 1',
    ]);
    expect(author.parents[0]?.cmdline).toEqual(['-bash']);
  });

  it('reads below another mount of /proc', () => {
    const moved = Object.fromEntries(
      Object.entries(SHELL_SESSION).map(([path, text]) => [path.replace('/proc', '/host/proc'), text]),
    );
    expect(readAuthor(reader(moved), '/host/proc', 77, 'iptables-restor').parents).toHaveLength(4);
    expect(readAuthor(reader(moved), '/proc', 77, 'iptables-restor').parents).toEqual([]);
  });

  it('leaves undefined what is gone', () => {
    expect(readAuthor(reader({}), '/proc', 4421, 'iptables')).toEqual({
      pid: 4421,
      comm: 'iptables',
      cmdline: undefined,
      parents: [],
    });
  });

  it('does not use a process of another name with the same pid', () => {
    const author = readAuthor(reader(processFiles(77, 'cron', 1, ['cron'])), '/proc', 77, 'iptables');
    expect(author).toEqual({ pid: 77, comm: 'iptables', cmdline: undefined, parents: [] });
  });

  it('knows the parent of a zombie, whose command line is empty', () => {
    const files = { ...processFiles(77, 'iptables', 70, []), ...processFiles(70, 'bash', 1, ['bash']) };
    const author = readAuthor(reader(files), '/proc', 77, 'iptables');
    expect(author.cmdline).toBeUndefined();
    expect(author.parents.map(({ pid }) => pid)).toEqual([70]);
  });

  it('keeps empty arguments, and names with parentheses and blanks', () => {
    const author = readAuthor(reader(processFiles(77, 'a) (b', 0, ['x', '', 'y'])), '/proc', 77, 'a) (b');
    expect(author.cmdline).toEqual(['x', '', 'y']);
  });

  it.each([
    ['0::/system.slice/iptables.service\n', 'iptables.service'],
    ['12:pids:/x\n1:name=systemd:/user.slice/user-0.slice/session-3.scope\n0::/user.slice\n', 'session-3.scope'],
    ['0::/\n', undefined],
  ])('takes the unit from the cgroup %j', (cgroup, unit) => {
    const files = { ...processFiles(77, 'iptables', 0, ['iptables']), '/proc/77/cgroup': cgroup };
    expect(readAuthor(reader(files), '/proc', 77, 'iptables').unit).toBe(unit);
  });

  it('reads a real process: this one', () => {
    const own = readAuthor(realProc, '/proc', process.pid, realProc.read(`/proc/${process.pid}/comm`)?.trim() ?? '');
    expect(own.parents[0]?.pid).toBe(process.ppid);
    expect(own.cmdline?.[0]).toContain('node');
  });
});

describe('the author for people', () => {
  const author: Author = { pid: 4421, comm: 'iptables', cmdline: undefined, parents: [] };

  it('says when the parent is unknown', () => {
    expect(describeAuthor(author)).toBe('iptables pid 4421 (parent unknown)');
  });

  it('shows the chain of parents, with whole names where the command line has them', () => {
    const read = readAuthor(reader(SHELL_SESSION), '/proc', 77, 'iptables-restor');
    expect(describeAuthor(read)).toBe(
      'iptables-restore pid 77 <- bash pid 70 <- sshd pid 12 <- sshd pid 5 <- systemd pid 1',
    );
  });

  it('keeps the cut name when the rest was not read', () => {
    expect(describeAuthor({ ...author, comm: 'iptables-restor' })).toBe('iptables-restor pid 4421 (parent unknown)');
    expect(describeAuthor({ ...author, unit: 'ferm.service' })).toBe(
      'iptables pid 4421 (parent unknown) in ferm.service',
    );
  });

  it('does not complete a name from another program’s command line', () => {
    const other = { ...author, comm: 'abcdefghijklmno', cmdline: ['/bin/sh', '-c', 'x'] };
    expect(describeAuthor(other)).toBe('abcdefghijklmno pid 4421 (parent unknown)');
  });

  it('says when the kernel named nobody', () => {
    expect(describeAuthor({ ...author, pid: 0, comm: '' })).toBe('unknown process');
  });
});
