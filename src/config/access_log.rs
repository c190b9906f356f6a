//! What `[access_log]` means: bounds that make sense, and collectors that can be reached in the way that was written.

use std::path::PathBuf;

use super::file::{self, AccessLogFormat, SinkKind};
use super::resolved::Check;
use crate::http::delivery::{DeliveryTls, Target};
use crate::http::tls::TlsFiles;
use crate::limits::HOST_BYTES_MAX;
use crate::ops::access_log::{AccessLogSettings, FileSettings, Format, OnLoss, SinkSettings, Way};
use crate::sys::journal_socket;

const QUEUE_RECORDS: std::ops::RangeInclusive<usize> = 16..=65_536;
const KEEP_BYTES_MIN: u64 = 1_048_576;

impl Check<'_> {
    pub(super) fn access_log(&mut self, written: &file::AccessLog) -> AccessLogSettings {
        if !QUEUE_RECORDS.contains(&written.queue_records) {
            self.report(
                "access_log.queue_records",
                format!("{} is out of bounds", written.queue_records),
                format!("write a number from {} to {}", QUEUE_RECORDS.start(), QUEUE_RECORDS.end()),
            );
        }
        if written.keep_days == 0 {
            self.report("access_log.keep_days", "today's file cannot be removed", "write 1 or more");
        }
        if written.keep_bytes < KEEP_BYTES_MIN {
            self.report(
                "access_log.keep_bytes",
                format!("{} bytes are too few for a log", written.keep_bytes),
                format!("write {KEEP_BYTES_MIN} or more"),
            );
        }
        let sinks = written.sink.iter().enumerate().filter_map(|(position, sink)| self.sink(position, sink)).collect();
        AccessLogSettings {
            on_loss: match written.on_loss {
                file::OnLoss::Count => OnLoss::Count,
                file::OnLoss::Stop => OnLoss::Stop,
            },
            queue_count_max: written.queue_records,
            file: FileSettings {
                format: format(written.format),
                days_count_max: written.keep_days,
                bytes_max: written.keep_bytes,
            },
            sinks,
            host: String::new(),
        }
    }

    fn sink(&mut self, position: usize, sink: &file::Sink) -> Option<SinkSettings> {
        let key = |name: &str| format!("access_log.sink[{position}].{name}");
        let client = self.client(&key, sink);
        let (name, way) = match sink.kind {
            SinkKind::Journald => ("journald", self.journal(&key, sink)?),
            SinkKind::SyslogTcp => ("syslog-tcp", Way::Syslog(self.target(&key, sink, None)?)),
            SinkKind::SyslogTls => {
                let tls = DeliveryTls { ca_file: sink.ca_file.clone(), client };
                ("syslog-tls", Way::Syslog(self.target(&key, sink, Some(tls))?))
            }
        };
        let settings = SinkSettings::new(format!("{name}-{}", position + 1), way, format(sink.format));
        Some(SinkSettings { facility: sink.facility.code(), ..settings })
    }

    fn client(&mut self, key: &dyn Fn(&str) -> String, sink: &file::Sink) -> Option<TlsFiles> {
        let of_tls = [("ca_file", &sink.ca_file), ("certificate", &sink.certificate), ("key", &sink.key)];
        if sink.kind != SinkKind::SyslogTls {
            for (name, _) in of_tls.iter().filter(|(_, path)| path.is_some()) {
                let problem = "only kind = \"syslog-tls\" has certificates";
                self.report(&key(name), problem, "remove it, or set the kind");
            }
            return None;
        }
        match (&sink.certificate, &sink.key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            (certificate, _) => {
                let written = if certificate.is_some() { "certificate" } else { "key" };
                self.report(&key(written), "a certificate and its key go together", "set both, or neither");
                None
            }
        }
    }

    fn journal(&mut self, key: &dyn Fn(&str) -> String, sink: &file::Sink) -> Option<Way> {
        let path = PathBuf::from(sink.address.as_deref().unwrap_or(journal_socket::PATH));
        if !path.is_absolute() {
            self.report(
                &key("address"),
                format!("'{}' is not the path of the journal's socket", path.display()),
                format!("leave the key out for {}, or write an absolute path", journal_socket::PATH),
            );
            return None;
        }
        Some(Way::Journal(path))
    }

    fn target(&mut self, key: &dyn Fn(&str) -> String, sink: &file::Sink, tls: Option<DeliveryTls>) -> Option<Target> {
        let address = sink.address.as_deref().unwrap_or_default();
        let Some((host, port)) = host_and_port(address) else {
            self.report(
                &key("address"),
                format!("'{address}' is not the address of a collector"),
                "write host:port, such as siem.example:6514 or [2001:db8::1]:6514",
            );
            return None;
        };
        Some(Target::new(host, port, tls))
    }
}

const fn format(written: AccessLogFormat) -> Format {
    match written {
        AccessLogFormat::Json => Format::Json,
        AccessLogFormat::Rfc5424 => Format::Rfc5424,
        AccessLogFormat::Cef => Format::Cef,
    }
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => host.to_owned(),
    };
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    let is_bare_ipv6 = host.contains(':') && !address.starts_with('[');
    (is_name && !is_bare_ipv6 && !host.is_empty() && host.len() <= HOST_BYTES_MAX).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::host_and_port;
    use crate::config::load::from_text;
    use crate::config::resolved::Overrides;
    use crate::ops::access_log::{Format, OnLoss, Way};

    const FILE: &str = "/etc/postern/postern.toml";

    #[test]
    fn addresses_of_collectors() {
        let check = |text: &str, expected: Option<(&str, u16)>| {
            let found = host_and_port(text);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        };
        check("siem.example:6514", Some(("siem.example", 6514)));
        check("192.0.2.1:514", Some(("192.0.2.1", 514)));
        check("[2001:db8::1]:514", Some(("2001:db8::1", 514)));
        check("2001:db8::1:514", None);
        check("siem.example", None);
        check("siem.example:0", None);
        check("siem.example:99999", None);
        check(":514", None);
        check("tcp://siem:514", None);
        check("[siem]:514", None);
    }

    #[test]
    fn what_was_written_is_what_holds() {
        let text = "[access_log]\non_loss = \"stop\"\nqueue_records = 64\nformat = \"cef\"\nkeep_days = 7\n\
                    [[access_log.sink]]\naddress = \"siem.example:6514\"\nca_file = \"ca.pem\"\nformat = \"json\"\n\
                    facility = \"local3\"\n[[access_log.sink]]\nkind = \"journald\"\n";
        let settings = from_text(Some(Path::new(FILE)), text, &Overrides::default()).unwrap().access_log;
        assert_eq!((settings.on_loss, settings.queue_count_max), (OnLoss::Stop, 64));
        assert_eq!((settings.file.format, settings.file.days_count_max), (Format::Cef, 7));
        let [first, second] = settings.sinks.as_slice() else { panic!("{settings:?}") };
        assert_eq!((first.name.as_str(), first.format, first.facility), ("syslog-tls-1", Format::Json, 19));
        let Way::Syslog(target) = &first.way else { panic!("{first:?}") };
        let ca_file = target.tls.as_ref().unwrap().ca_file.as_deref();
        assert_eq!(
            (target.host.as_str(), target.port, ca_file),
            ("siem.example", 6514, Some("/etc/postern/ca.pem".as_ref()))
        );
        assert_eq!(
            (second.name.as_str(), &second.way),
            ("journald-2", &Way::Journal("/run/systemd/journal/socket".into()))
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let check = |text: &str, line: usize, key: &str| {
            let error = from_text(Some(Path::new(FILE)), text, &Overrides::default()).unwrap_err();
            let found: Vec<_> = error.problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
            assert_eq!(found, [(Some(line), key)], "{error}");
        };
        check("[access_log]\nqueue_records = 15", 2, "access_log.queue_records");
        check("[access_log]\nkeep_days = 0", 2, "access_log.keep_days");
        check("[access_log]\nkeep_bytes = 1", 2, "access_log.keep_bytes");
        check("[[access_log.sink]]\nkind = \"syslog-tcp\"", 1, "access_log.sink[0].address");
        check("[[access_log.sink]]\naddress = \"siem\"", 2, "access_log.sink[0].address");
        let tcp = "[[access_log.sink]]\nkind = \"syslog-tcp\"\naddress = \"a:1\"\n";
        check(&format!("{tcp}ca_file = \"c\""), 4, "access_log.sink[0].ca_file");
        check("[[access_log.sink]]\naddress = \"a:1\"\nkey = \"k\"", 3, "access_log.sink[0].key");
        check("[[access_log.sink]]\nkind = \"journald\"\naddress = \"a\"", 3, "access_log.sink[0].address");
    }
}
