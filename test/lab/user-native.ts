// The admin's own native tables in the lab, and a later edition of their file.

/** The user's tables: an `inet` one with everything in it, and one of each family with a name of its own. */
export const USER_NATIVE = `table inet filter {
	comment "written by hand"
	set banned {
		type ipv4_addr
		flags interval
		elements = { 192.0.2.0/24, 198.51.100.77 }
	}
	set seen {
		type ipv4_addr
		size 1000
		flags dynamic,timeout
		timeout 1m
	}
	set short {
		type ipv4_addr
		flags timeout
	}
	counter web {
	}
	map services {
		type inet_service : verdict
		elements = { 22 : accept, 443 : accept }
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		iif "lo" accept
		ip saddr @banned drop
		udp dport 9999 update @seen { ip saddr } counter
		tcp dport vmap @services
		tcp dport 80 counter name "web" accept
		meta l4proto { icmp, ipv6-icmp } accept
		jump admin
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @banned drop
		ip daddr 192.168.122.10 tcp dport 22 accept comment "ssh to the first guest"
	}
	chain admin {
		ip saddr 203.0.113.0/24 tcp dport 9100 accept
		tcp dport 9100 drop
	}
}
table ip edge {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" tcp dport 8022 dnat to 192.168.122.10:22
	}
}
table ip6 edge {
	chain input {
		type filter hook input priority filter - 5; policy accept;
		ip6 saddr 2001:db8:77::/64 drop
		tcp dport 9100 drop
	}
}
`;

/** One rule and one element other, one table gone, one table new. */
export const CHANGED_NATIVE = USER_NATIVE.replace(
  'tcp dport 9100 drop\n\t}\n}\ntable ip edge',
  'tcp dport { 9100, 9101 } drop\n\t}\n}\ntable ip edge',
)
  .replace('198.51.100.77', '198.51.100.78')
  .replace(
    /table ip6 edge[^]*/,
    'table ip6 later {\n\tchain c {\n\t\ttype filter hook input priority 5; policy accept;\n\t\ttcp dport 9101 drop\n\t}\n}\n',
  ); // table ip6 edge { ...
