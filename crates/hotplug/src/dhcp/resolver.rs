//! What resolv.conf(5) says, as far as a guest can use it.

use std::net::Ipv4Addr;

use super::HostName;

/// Most name servers that a resolver asks (`MAXNS` of glibc's resolv.h): more are of no use to a client.
const SERVERS_MAX: usize = 3;

/// A host's domain and name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The domain that names are looked up in first.
    pub domain: Option<HostName>,
    /// The name servers that a guest can reach. One that listens on the host's loopback address, such as systemd-resolved on 127.0.0.53, is
    /// none of them: a guest has a loopback of its own.
    pub name_servers: Vec<Ipv4Addr>,
}

impl Resolver {
    /// From the text of a resolv.conf. What is malformed in it is passed over, as resolvers do.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            // A comment begins its line; behind a value there is none.
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("nameserver"), Some(word)) => resolver.add_server(word),
                // The last of them counts, and of a list the first.
                (Some("domain" | "search"), Some(word)) => resolver.domain = domain(word),
                _ => {}
            }
        }
        resolver
    }

    fn add_server(&mut self, word: &str) {
        let Ok(address) = word.parse::<Ipv4Addr>() else { return };
        let nowhere = address.is_loopback() || address.is_unspecified() || address.is_multicast() || address.is_broadcast();
        if !nowhere && self.name_servers.len() < SERVERS_MAX && !self.name_servers.contains(&address) {
            self.name_servers.push(address);
        }
    }

    /// This, with what `other` knows where this knows nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let name_servers = if self.name_servers.is_empty() { other.name_servers } else { self.name_servers };
        Self { domain: self.domain.or(other.domain), name_servers }
    }
}

/// `.` is the root, which is no domain to tell of.
fn domain(word: &str) -> Option<HostName> {
    word.strip_suffix('.').unwrap_or(word).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (Option<String>, Vec<String>) {
        let resolver = Resolver::parse(text);
        (resolver.domain.map(String::from), resolver.name_servers.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_usual_file() {
        let text = "# made by dhclient\ndomain example.org\nsearch lan.example.org. example.org\nnameserver 192.168.1.1\nnameserver\t9.9.9.9\n";
        assert_eq!(parsed(text), (Some("lan.example.org".to_owned()), vec!["192.168.1.1".to_owned(), "9.9.9.9".to_owned()]));
    }

    #[test]
    fn servers_that_a_guest_cannot_reach_are_left_out() {
        let text = "nameserver 127.0.0.53\nnameserver 0.0.0.0\nnameserver 224.0.0.1\nnameserver 255.255.255.255\nnameserver ::1\n\
                    nameserver 10.0.0.1\nnameserver 10.0.0.1\n";
        assert_eq!(parsed(text).1, ["10.0.0.1"]);
    }

    #[test]
    fn no_more_servers_than_are_asked() {
        let text: String = (1..=9).map(|number| format!("nameserver 10.0.0.{number}\n")).collect();
        assert_eq!(parsed(&text).1.len(), 3);
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        for text in [
            "nameserver",
            "nameserver 1.2.3",
            "nameserver 1.2.3.4;",
            "#nameserver 1.2.3.4",
            "Nameserver 1.2.3.4",
            "search",
            "search .",
            "domain a\";b",
        ] {
            assert_eq!(parsed(text), (None, vec![]), "{text}");
        }
    }

    #[test]
    fn one_file_fills_in_for_another() {
        let stub = Resolver::parse("search lan\nnameserver 127.0.0.53\n");
        let real = Resolver::parse("search other\nnameserver 192.168.1.1\n");
        assert_eq!(stub.or(real.clone()), Resolver { domain: "lan".parse().ok(), name_servers: real.name_servers });
    }

    proptest! {
        #[test]
        fn no_text_brings_anything_but_names_and_addresses(text in "(?s)((nameserver|search|domain|[#;])[ \t]?.{0,40}\n?){0,8}") {
            let resolver = Resolver::parse(&text);
            if let Some(domain) = resolver.domain {
                prop_assert!(domain.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')));
            }
            prop_assert!(resolver.name_servers.len() <= SERVERS_MAX);
        }
    }
}
