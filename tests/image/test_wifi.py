"""The box's own Wi-Fi network, with simulated radios (mac80211_hwsim): a phone joins it, is led to the page, and
enters a network; the box joins that one, remembers it, and is back with its own when that one has gone. Phone and
router are network namespaces of the emulated box, each with a radio; they need nothing that the image does not
have. One boot serves all tests here; they follow each other."""

import base64
import json

import pytest
import vm as vms

CODE = "SING-ALON-G2X7"
HOME, PASSWORD = "Bar: 1", r"pass w\rd:1"

# The emulated box is reached by its network card, which its own NetworkManager is to know nothing of from now on.
APART = """
card=$(nmcli -t -f TYPE,DEVICE device | sed -n 's/^ethernet://p' | head -n 1)
mkdir -p /run/systemd/system/rig-wifi.service.d
printf '[Service]\\nEnvironment=WAIT=20 AGAIN=30\\n' >/run/systemd/system/rig-wifi.service.d/test.conf
systemctl daemon-reload
systemctl stop rig-wifi
modprobe mac80211_hwsim radios=3
for try in 1 2 3 4 5 6 7 8 9 10; do [ -e /sys/class/net/wlan2 ] && break; sleep 1; done
for who in phone:wlan1 router:wlan2; do
  ip netns add ${who%:*}
  iw phy "$(cat /sys/class/net/${who#*:}/phy80211/name)" set netns name ${who%:*}
  ip netns exec ${who%:*} ip link set lo up
done
nmcli device set $card managed no
sleep 2
ip link set $card up
ip addr show dev $card | grep -q 10.0.2.15 || ip addr add 10.0.2.15/24 dev $card
ip route | grep -q '^default' || ip route add default via 10.0.2.2
systemctl start rig-wifi
"""
# What udhcpc does with a lease; in /tmp, since nothing in /run is to be run.
LEASE = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/24 dev $interface
echo "$ip $router $dns"
"""
# A question by multicast, as a phone asks for names in .local; what comes back, and who from.
ASK = r"""
use IO::Socket::INET; use Socket;
my ($from, $name, $type) = @ARGV;
my $socket = IO::Socket::INET->new(Proto => "udp", LocalAddr => $from) or die "no socket: $!";
my $question = pack("n6", 7, 0, 1, 0, 0, 0) . join("", map { pack("C/a*", $_) } split /[.]/, $name) . pack("xnn", $type, 1);
for (1 .. 10) {
  send($socket, $question, 0, pack_sockaddr_in(5353, inet_aton("224.0.0.251"))) or die "not sent: $!";
  vec(my $ready = "", fileno($socket), 1) = 1;
  next unless select($ready, undef, undef, 3);
  my $who = recv($socket, my $answer, 9000, 0);
  print inet_ntoa((unpack_sockaddr_in($who))[1]), " ", unpack("H*", $answer), "\n";
  exit;
}
"""


def script(box, text, name="/run/test.sh", **more):
    """Runs a script on the box, whatever signs are in it."""
    packed = base64.b64encode(text.encode()).decode()
    return box.run(f"echo {packed} | base64 -d >{name} && bash {name}", **more)


def until(box, condition, patience=120):
    """Waits on the box, not from outside: each look by SSH would cost it more than everything else it does."""
    script(box, f"for try in $(seq {patience}); do if {condition}; then exit 0; fi; sleep 1; done; exit 1", timeout=1200)


def write(box, name, text):
    packed = base64.b64encode(text.encode()).decode()
    box.run(f"echo {packed} | base64 -d >{name} && chmod 700 {name}")


def phone_http(box, host, path, method="GET", body=""):
    """A phone's request to the box's address on its own network: (status, head, body)."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    write(box, "/run/request", head + "\r\n" + body)
    ask = "exec 3<>/dev/tcp/10.42.0.1/80; cat /run/request >&3; cat <&3"
    answer = script(box, f"ip netns exec phone timeout 60 bash -c '{ask}'")
    head, _, body = answer.partition("\n\n") if "\r\n\r\n" not in answer else answer.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def phone_joins(box, name, password):
    """The phone in a network, with an address of it: (its own, the router's, the name server's)."""
    box.run("[ ! -e /run/phone.pid ] || { kill $(cat /run/phone.pid); rm -f /run/phone.pid; sleep 1; }")
    write(box, "/run/phone.conf", f'network={{\nssid="{name}"\npsk="{password}"\n}}\n')
    box.run("ip netns exec phone wpa_supplicant -B -D nl80211 -i wlan1 -c /run/phone.conf -P /run/phone.pid >/dev/null")
    until(box, "ip netns exec phone iw dev wlan1 link | grep -q ^Connected", 60)
    write(box, "/tmp/lease", LEASE)
    told = box.run("ip netns exec phone busybox udhcpc -i wlan1 -n -q -t 10 -s /tmp/lease 2>/dev/null")
    return told.strip().splitlines()[-1].split()


def router(box, is_on):
    box.run("for what in home dhcp; do [ ! -e /run/$what.pid ] || kill $(cat /run/$what.pid); rm -f /run/$what.pid; done")
    if not is_on:
        return
    psk = PASSWORD
    write(box, "/run/home.conf", f'network={{\nssid={HOME.encode().hex()}\nmode=2\nfrequency=2412\nkey_mgmt=WPA-PSK\nproto=RSN\npairwise=CCMP\npsk="{psk}"\n}}\n')
    script(box, """
ip netns exec router wpa_supplicant -B -D nl80211 -i wlan2 -c /run/home.conf -P /run/home.pid >/dev/null
for try in $(seq 20); do ip netns exec router iw dev wlan2 info | grep -q 'type AP' && break; sleep 1; done
ip netns exec router ip addr replace 192.168.7.1/24 dev wlan2
ip netns exec router dnsmasq --conf-file=/dev/null --port=0 --interface=wlan2 --bind-interfaces \\
  --dhcp-range=192.168.7.10,192.168.7.99,1h --pid-file=/run/dhcp.pid --dhcp-leasefile=/run/dhcp.leases
""")


def own_network(box):
    """The box's own network, once it is there: its name and its password."""
    until(box, "grep -q '^10.42.0.1' /run/rig/access-point")
    return box.run("cat /run/rig/own-wifi").splitlines()


@pytest.fixture(scope="module")
def box(tmp_path_factory, key, switch_on):
    folder = tmp_path_factory.mktemp("box")
    image = vms.card(folder / "card.img")
    vms.put(image, "rig.txt", f"claim_code={CODE}\n")
    vms.put(image, "ssh-key.pub", key.with_suffix(".pub").read_text())
    # There is no card in this one, and little to do for what is emulated.
    vms.put(image, "rigd.toml", '[audio]\nbackend = "null"\nblock_frames = 4096\nsample_rate = 8000\n')
    box = switch_on(image)
    box.wait_healthy()
    # One connection for all: a handshake is more work for the box than what is asked by it.
    for option in ("ControlMaster=auto", f"ControlPath={folder}/%C", "ControlPersist=300"):
        box.ssh_options += ["-o", option]
    script(box, APART)
    return box


def test_without_a_network_it_opens_its_own_by_its_code(box):
    router(box, True)
    name, password = own_network(box)
    assert name.startswith("rig-") and len(name) == 8 and password == CODE
    assert "type AP" in box.run("iw dev wlan0 info")
    assert "Bar\\: 1" in box.run("cat /run/rig/access-point"), "what was in reach before"
    box.wait_said(f"{name}, password {CODE}")


def test_a_phone_joins_it_and_is_led_to_the_page(box):
    name, password = own_network(box)
    address, gateway, names = phone_joins(box, name, password)
    assert address.startswith("10.42.0.") and gateway == names == "10.42.0.1"
    asked = box.run("ip netns exec phone busybox nslookup connectivitycheck.gstatic.com 10.42.0.1", check=False).stdout
    assert asked.count("10.42.0.1") >= 2, asked
    for host, path in [
        ("connectivitycheck.gstatic.com", "/generate_204"),
        ("captive.apple.com", "/hotspot-detect.html"),
        ("www.msftconnecttest.com", "/connecttest.txt"),
    ]:
        status, head, _ = phone_http(box, host, path)
        assert status == 302 and "location: http://10.42.0.1/wifi" in head.lower(), head
    status, _, page = phone_http(box, "10.42.0.1", "/wifi")
    assert status == 200 and "own Wi-Fi" in page
    assert phone_http(box, "example.org", "/api/state")[0] == 421
    status, _, seen = phone_http(box, "10.42.0.1", "/api/device/wifi")
    assert status == 200 and HOME in [network["name"] for network in json.loads(seen)["networks"]], seen


def test_a_phone_finds_it_by_its_name_and_its_service(box):
    address = phone_joins(box, *own_network(box))[0]
    box.run("ip netns exec phone ip route replace 224.0.0.0/4 dev wlan1")
    write(box, "/run/ask.pl", ASK)

    def asked(name, type):
        """The answers' number, and all of it."""
        who, answer = box.run(f"ip netns exec phone perl /run/ask.pl {address} {name} {type}").split()
        assert who == "10.42.0.1"
        return bytes.fromhex(answer)[6:8], bytes.fromhex(answer)

    A, PTR = 1, 12
    count, answer = asked("rig.local", A)
    assert count != bytes(2) and b"\x00\x04\x0a\x2a\x00\x01" in answer, answer
    count, answer = asked("_rigd._tcp.local", PTR)
    assert count != bytes(2) and b"\x03rig" in answer, answer


def join(box, password):
    body = json.dumps({"network": HOME, "password": password, "code": CODE})
    status, _, answer = phone_http(box, "10.42.0.1", "/api/device/wifi", "POST", body)
    assert status == 202, answer


def test_with_a_wrong_password_its_own_network_is_back_and_the_page_says_why(box):
    name, password = own_network(box)
    join(box, "not-the-one")
    until(box, "[ ! -e /run/rig/access-point ]", 60)
    own_network(box)
    phone_joins(box, name, password)
    told = json.loads(phone_http(box, "10.42.0.1", "/api/device/wifi")[2])["join"]
    assert told["stage"] == "failed" and told["network"] == HOME and "password is wrong" in told["reason"], told


def wait_at_home(box):
    until(box, "nmcli -g IP4.ADDRESS device show wlan0 | grep -q '^192.168.7.'")
    until(box, "[ $(nmcli -g GENERAL.CONNECTION device show wlan0) = rigd-wifi ]", 30)


def test_with_the_right_one_it_joins_and_remembers_it(box):
    join(box, PASSWORD)
    wait_at_home(box)
    kept = box.run("nmcli -s -g 802-11-wireless.ssid,802-11-wireless-security.psk,connection.autoconnect connection show rigd-wifi")
    assert kept.replace("\\:", ":").replace("\\\\", "\\").splitlines() == [HOME, PASSWORD, "yes"]
    until(box, "[ ! -e /run/rig/access-point ]", 30)
    assert "rigd-wifi" in box.run("ls /var/lib/NetworkManager/system-connections")
    for word in (PASSWORD, "not-the-one"):
        assert word not in box.run("journalctl --no-pager; cat /run/rig/status")


def test_when_that_network_has_gone_its_own_is_there_until_it_is_back(box):
    box.run("kill $(cat /run/phone.pid)")
    router(box, False)
    own_network(box)
    router(box, True)
    wait_at_home(box)


def test_rigd_may_do_no_more_than_it_should(box):
    told = box.run("systemd-analyze security rigd.service --no-pager | tail -n 1")
    assert float(told.split("rigd.service:")[1].split()[0]) < 2.0, told
    assert box.run("stat -c %a /run/rig/own-wifi /var/lib/rig/own-wifi").split() == ["600", "600"]
