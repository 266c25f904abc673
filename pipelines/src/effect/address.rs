//! Which addresses effects may go to (SSRF): public ones, and what the configuration allows.
//!
//! A name is resolved once and every address it has is looked at; the connection goes to the address that was looked at, so a
//! name that changes its mind in between gains nothing. Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4)
//! are judged by it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, e.g. `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Networks that are allowed besides public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inside(pub &'static str);

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("`{text}` is no network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| wrong())?,
            None => most,
        };
        match bits <= most {
            true => Ok(Network { address, bits }),
            false => Err(wrong()),
        }
    }
}

impl FromStr for Networks {
    type Err = String;

    /// Reads networks with commas between; empty text allows none.
    fn from_str(text: &str) -> Result<Networks, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Networks)
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                shift == 32 || own.to_bits() >> shift == other.to_bits() >> shift
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                shift == 128 || own.to_bits() >> shift == other.to_bits() >> shift
            }
            _ => false,
        }
    }
}

impl Networks {
    /// Whether the address is in one of them as it stands, whatever other address it may lead to.
    pub fn hold(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// Whether the configuration allows this address by name.
    pub fn allow(&self, address: IpAddr) -> bool {
        let plain = inner(address);
        self.0
            .iter()
            .any(|network| network.holds(address) || network.holds(plain))
    }

    /// Whether effects may go there.
    pub fn check(&self, address: IpAddr) -> Result<(), Inside> {
        match self.allow(address) {
            true => Ok(()),
            false => public(address),
        }
    }
}

/// Whether an address is one of the public internet.
pub fn public(address: IpAddr) -> Result<(), Inside> {
    match inner(address) {
        IpAddr::V4(address) => public_v4(address),
        IpAddr::V6(address) => public_v6(address),
    }
}

/// The IPv4 address that an IPv6 address stands for, if it does.
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else {
        return address;
    };
    let [a, b, c, d, e, f, g, h] = six.segments();
    let four = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match [a, b, c, d, e, f] {
        // Mapped.
        [0, 0, 0, 0, 0, 0xffff] => four(g, h),
        // Compatible, long out of use; :: and ::1 are themselves.
        [0, 0, 0, 0, 0, 0] if (g, h) != (0, 0) && (g, h) != (0, 1) => four(g, h),
        // Translated.
        [0, 0, 0, 0, 0xffff, 0] => four(g, h),
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0] => four(g, h),
        // 6to4.
        [0x2002, high, low, ..] => four(high, low),
        _ => address,
    }
}

fn public_v4(address: Ipv4Addr) -> Result<(), Inside> {
    let [a, b, c, _] = address.octets();
    let what = match (a, b, c) {
        (0, ..) => "of this network",
        (127, ..) => "of this machine",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "private",
        (100, 64..=127, _) => "shared by a provider",
        (169, 254, _) => "link-local, where clouds keep their metadata",
        (192, 0, 0) | (192, 88, 99) => "for protocols",
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => "for documentation",
        (198, 18..=19, _) => "for measurements",
        (224..=239, ..) => "multicast",
        (240.., ..) => "reserved",
        _ => return Ok(()),
    };
    Err(Inside(what))
}

fn public_v6(address: Ipv6Addr) -> Result<(), Inside> {
    let [a, b, ..] = address.segments();
    let what = match (a, b) {
        _ if address.is_loopback() => "of this machine",
        _ if address.is_unspecified() => "of this network",
        (0xfc00..=0xfdff, _) => "private",
        (0xfe80..=0xfebf, _) => "link-local",
        (0xfec0..=0xfeff, _) => "site-local",
        (0xff00.., _) => "multicast",
        (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff) => "for documentation",
        // Teredo, ORCHID and others.
        (0x2001, 0..=0x01ff) => "for protocols",
        // What is left of public IPv6 is 2000::/3.
        (0x2000..=0x3fff, _) => return Ok(()),
        _ => "reserved",
    };
    Err(Inside(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_only_public_addresses_pass() {
        for text in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "::ffff:0:7f00:1",
            "100::1",
            "fec0::1",
        ] {
            assert!(public(text.parse().unwrap()).is_err(), "{text}");
        }
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "223.5.5.5",
            "2606:4700::1111",
            "240e::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            let public = public(text.parse().unwrap());
            // 240e::/18 is China Telecom's: inside 2000::/3.
            assert_eq!(public, Ok(()), "{text}");
        }
    }

    #[test]
    fn the_configuration_allows_networks() {
        let networks: Networks = "10.0.0.0/8, 127.0.0.1 ,fd00::/8".parse().unwrap();
        for text in [
            "10.255.0.1",
            "127.0.0.1",
            "::ffff:10.0.0.1",
            "fd12::1",
            "8.8.8.8",
        ] {
            assert_eq!(networks.check(text.parse().unwrap()), Ok(()), "{text}");
        }
        for text in ["127.0.0.2", "192.168.0.1", "fe80::1"] {
            assert!(networks.check(text.parse().unwrap()).is_err(), "{text}");
        }
        assert!("".parse::<Networks>().unwrap().0.is_empty());
        assert!(
            "0.0.0.0/0"
                .parse::<Networks>()
                .unwrap()
                .allow("1.2.3.4".parse().unwrap())
        );
        for wrong in ["10.0.0.0/33", "ten", "10.0.0.0/x", "::/129"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
