import type { ExplainResult } from '../verbs/explain.ts';
import type { PacketSpec } from '../explain/packet.ts';
import type { Register } from './commands.ts';
import { EXIT, Stop } from './exit-codes.ts';
import type { PacketOptions } from './explain-words.ts';
import { addTail } from './help.ts';
import { openWorld, type Session, unlessRefused } from './session.ts';

interface Options extends PacketOptions {
  readonly rules?: string;
}

const NOTES = `PACKET
  PROTOCOL [from ADDRESS[:PORT]] to ADDRESS[:PORT] [in DEV] [out DEV]
           [sport PORT] [dport PORT] [type ICMP-TYPE] [mark MARK]
           [state new|established|related|invalid|untracked|any]

  The words may come in any order behind the protocol; each is an option, too
  (state is --ctstate). An IPv6 address with a port stands in brackets:
  [2001:db8::1]:22. Without state the packet is the first one of its flow
  (new). Names are not looked up.

  Where it goes is asked of the kernel (ip route get), also after NAT. With a
  source address of this host and without "in" the packet is sent by this host.
  What is neither said nor known is left open: if that decides, the verdict is
  depends, and each "depends on" line says what is missing.

  Rules of all engines are asked in the kernel's order: iptables tables of the
  packet's family and native nft tables. Bridge and arp tables are only named.
  A rule's number with "?" stands for: it matches if something unknown is so.`;

export const register: Register = (command, run) => {
  command
    .description(
      'What becomes of one packet, and whose rule decides it: the hooks, tables and chains it comes through, the rules that match with their owner, what NAT makes of it, the verdict. No packet is sent, nothing is changed.',
    )
    .usage('PACKET [OPTIONS]')
    .argument('[packet...]', 'as in: tcp from 203.0.113.9 to 192.168.122.10:22 in eth0')
    .option('--proto <protocol>', 'tcp, udp, icmp, icmpv6, or a number')
    .option('--from <address>', 'source, with :PORT or without')
    .option('--to <address>', 'destination, with :PORT or without')
    .option('--sport <port>', 'source port')
    .option('--dport <port>', 'destination port')
    .option('--in <dev>', 'interface it comes in by')
    .option('--out <dev>', 'interface it leaves by, where you know better than the routes')
    .option('--ctstate <state>', 'state: what conntrack says of it (default new)')
    .option('--type <type>', 'ICMP type')
    .option('--mark <mark>', 'packet mark (default 0)')
    .option(
      '--rules <file>',
      'rules in iptables-save form instead of the live ones. They may be those of another host, so nothing is asked of this one: say in and out yourself. - is standard input; needs no root',
    );
  addTail(command, {
    notes: NOTES,
    examples: [
      ['mendwall explain tcp from 203.0.113.9 to 192.168.122.10:22 in eth0', ''],
      ['mendwall explain udp from 192.168.122.10 to 192.168.122.1:53 in virbr0', ''],
      ['mendwall explain --proto tcp --from 198.51.100.1 --to 192.0.2.7 --dport 443', ''],
      ['mendwall explain tcp to 10.0.0.5:80 in eth0 out virbr0 --rules rules.v4', ''],
    ],
    exits: [
      ['0', 'a verdict: accept, drop or reject'],
      ['1', 'no verdict: it depends on something that is not known'],
      ['2', 'the packet cannot be read; no such file, or a malformed one'],
      ['5', 'the live rules cannot be read, or both engines hold rules'],
      ['7', 'only root may read the live rules'],
    ],
  });
  command.action(run(show));
};

async function show(session: Session, words: readonly string[], options: Options): Promise<number> {
  const { packetOfWords } = await import('./explain-words.ts');
  const packet = packetOfWords(words, options);
  const result =
    options.rules === undefined ? await live(session, packet) : await fromFile(session, packet, options.rules);
  if (session.options.json === true) session.printJson(result);
  else {
    const { explainLines } = await import('./explain-view.ts');
    for (const line of explainLines(result, session.color)) session.printPainted(line);
  }
  return result.verdict === 'depends' ? EXIT.drift : EXIT.ok;
}

async function live(session: Session, packet: PacketSpec): Promise<ExplainResult> {
  const { explainLive } = await import('../verbs/explain.ts');
  const world = await openWorld(session);
  const result = await explainLive(world, packet);
  await world.host.close();
  if (result.kind === 'refused' && result.code === 'unreadable-rules' && session.terminal.uid !== 0)
    throw new Stop(EXIT.needsRoot, `${result.message.split('\n')[0]}: reading them needs root`);
  return unlessRefused(result);
}

async function fromFile(session: Session, packet: PacketSpec, file: string): Promise<ExplainResult> {
  const { readDocument } = await import('./debug-filters.ts');
  const { explainFile } = await import('../verbs/explain.ts');
  return explainFile((await readDocument(session, file, packet.family)).ruleset, packet);
}
