//! What holds about settings: precedence, refusals, and that the table is sound.

use super::*;

fn flags(values: &[(&'static str, &str)]) -> Flags {
    Flags { values: values.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(), file: None }
}

fn environment(values: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    values.iter().map(|(k, v)| (k.into(), v.into())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

fn in_file(text: &str) -> Result<Config, ConfigError> {
    let file = file(text);
    Config::load(Flags { file: Some(file.path().to_owned()), ..Flags::default() }, [])
}

#[test]
fn every_default_is_allowed_and_in_its_usual_spelling() {
    for effective in Config::defaults().effective {
        assert_eq!(effective.shown, effective.setting.default, "{}", effective.setting.key);
    }
}

#[test]
fn keys_are_unique_and_documented() {
    let mut keys: Vec<_> = TABLE.iter().map(|setting| setting.key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), TABLE.len());
    assert!(TABLE.iter().all(|setting| setting.help().ends_with('.')));
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("drain_ms = 1\noverlap_ms = 2000\nping_interval_ms = 300");
    let mut given = flags(&[("drain_ms", "3")]);
    given.file = Some(file.path().to_owned());
    let variables = environment(&[("RALLY_DRAIN_MS", "2"), ("RALLY_OVERLAP_MS", "3000")]);
    let config = Config::load(given, variables).unwrap();
    assert_eq!(config.settings.node.drain_ms, 3);
    assert_eq!(config.settings.node.overlap_ms, 3_000);
    assert_eq!(config.settings.sessions.ping_interval_ms, 300);
    assert_eq!(config.settings.sessions.silence_ms, 25_000);
    let source = |key| {
        let effective = config.effective.iter().find(|e| e.setting.key == key).unwrap();
        effective.source.clone()
    };
    assert_eq!(source("drain_ms"), Source::Flag);
    assert_eq!(source("overlap_ms"), Source::Environment);
    assert_eq!(source("ping_interval_ms"), Source::File(file.path().to_owned()));
    assert_eq!(source("silence_ms"), Source::Default);
}

#[test]
fn the_environment_may_name_the_file() {
    let file = file("demo = true\norigins = [\"http://a\", \"https://b:1\"]");
    let path = file.path().to_str().unwrap();
    let config = Config::load(Flags::default(), environment(&[("RALLY_CONFIG", path)])).unwrap();
    assert!(config.settings.node.demo);
    assert_eq!(config.settings.network.origins.len(), 2);
}

#[test]
fn bad_values_are_refused_with_key_value_and_what_is_allowed() {
    for (key, bad, allowed) in [
        ("listen", "localhost", "an address and port"),
        ("drain_ms", "-1", "a whole number from 0 to 600000"),
        ("drain_ms", "9999999", "a whole number from 0 to 600000"),
        ("durability", "always", "sync or os"),
        ("demo", "yes", "true or false"),
        ("node", "Node 1", "1 to 32 of"),
        ("workers", "0", "auto, or a whole number from 1 to 256"),
        ("origins", "http://a,b", "values with commas between"),
        ("public_url", "chat.example.org", "http:// or https://"),
        ("trace_ratio", "NaN", "a number from 0 to 1"),
        ("log_filter", "a=b=c", "directives"),
        ("data_dir", "", "a path"),
    ] {
        let error = Config::load(flags(&[(key, bad)]), []).unwrap_err().to_string();
        let flag = format!("--{}", key.replace('_', "-"));
        assert!(error.contains(&flag), "{error}");
        assert!(error.contains(&format!("{bad:?}")), "{error}");
        assert!(error.contains(allowed), "{error}");

        let variable = format!("RALLY_{}", key.to_uppercase());
        let error = Config::load(Flags::default(), environment(&[(&variable, bad)]));
        assert!(error.unwrap_err().to_string().starts_with(&variable));

        let error = in_file(&format!("{key} = {bad:?}")).unwrap_err().to_string();
        assert!(error.contains(&format!("key {key}: {bad:?}")), "{error}");
    }
}

#[test]
fn what_is_no_setting_is_refused() {
    let error = in_file("lisen = 1").unwrap_err().to_string();
    assert!(error.contains("\"lisen\"") && error.contains(" drain_ms "), "{error}");
    let error = in_file("[network]\nlisten = 1").unwrap_err().to_string();
    assert!(error.contains("unknown key \"network\""), "{error}");
    let error = in_file("[listen]\na = 1").unwrap_err().to_string();
    assert!(error.contains("key listen"), "{error}");
    let error = Config::load(Flags::default(), environment(&[("RALLY_LISEN", "x")]));
    assert!(error.unwrap_err().to_string().contains("\"RALLY_LISEN\""));
    assert!(Config::load(Flags::default(), environment(&[("OTHER", "x")])).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_says_which_and_why() {
    let error = in_file("listen = ").unwrap_err().to_string();
    assert!(error.contains("is not TOML"), "{error}");
    let missing = Flags { file: Some("no/such/file.toml".into()), ..Flags::default() };
    let error = Config::load(missing, []).unwrap_err().to_string();
    assert!(error.contains("no/such/file.toml"), "{error}");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let error = Config::load(flags(&[("ping_interval_ms", "20000")]), []).unwrap_err();
    assert!(error.to_string().contains("silence_ms 25000"), "{error}");
    let error = Config::load(flags(&[("commit_timeout_ms", "30000")]), []).unwrap_err();
    assert!(error.to_string().contains("commit_give_up_ms 20000"), "{error}");
    let says = |given: &[(&'static str, &str)]| {
        Config::load(flags(given), []).map(drop).map_err(|error| error.to_string())
    };
    let error = says(&[("otlp_endpoint", "https://collector.example.org:4317")]).unwrap_err();
    assert!(error.contains("by http"), "{error}");
    assert_eq!(says(&[("otlp_endpoint", "http://127.0.0.1:4317")]), Ok(()));
    let error = says(&[("cookie_domain", "example.org")]).unwrap_err();
    assert!(error.contains("set public_url"), "{error}");
    let chat = ("public_url", "https://chat.example.org");
    assert_eq!(says(&[chat, ("cookie_domain", "example.org")]), Ok(()));
    assert!(says(&[chat, ("cookie_domain", "example.com")]).is_err(), "of one node, too");
}

#[test]
fn settings_of_a_cluster_that_make_no_sense_together_are_refused() {
    let cluster: &[(&str, &str)] = &[
        ("broker", "rabbitmq"),
        ("store", "cassandra"),
        ("public_url", "https://chat-1.example.org"),
        ("cookie_domain", "example.org"),
        ("seeds", "10.0.0.1:7946,chat-2:7946"),
    ];
    let with = |key: &'static str, value: &'static str| {
        let mut given = flags(&[]);
        given.values = cluster.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        given.values.insert(key, value.to_owned());
        Config::load(given, []).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with("placement", "round-robin"), Ok(()));
    for (key, value, says) in [
        ("store", "embedded", "set store to cassandra"),
        ("broker", "local", "set broker to rabbitmq"),
        ("public_url", "none", "with public_url"),
        ("cookie_domain", "example.com", "example.com is not above the host chat-1.example.org"),
        ("gossip_listen", "0.0.0.0:7946", "set gossip_address"),
        ("seeds", "10.0.0.1", "a host and a port"),
    ] {
        let error = with(key, value).unwrap_err();
        assert!(error.contains(says), "{key}={value}: {error}");
    }
}

#[test]
fn roles_without_chat_are_refused_where_no_other_process_could_have_it() {
    let with = |given: &[(&'static str, &str)]| {
        Config::load(flags(given), []).map(|config| config.settings.node.roles.to_string())
    };
    let says = |given: &[(&'static str, &str)]| with(given).unwrap_err().to_string();
    assert_eq!(with(&[]).unwrap(), "all");
    assert_eq!(with(&[("roles", "discovery,chat")]).unwrap(), "chat,discovery");
    let embedded = says(&[("roles", "messaging,presence")]);
    assert!(embedded.contains("roles messaging,presence leave chat to another process"));
    assert!(embedded.contains("store embedded is a folder of its own"), "{embedded}");
    let alone = says(&[("roles", "presence"), ("store", "cassandra")]);
    assert!(alone.contains("broker local reaches no other process"), "{alone}");
    let shared = [
        ("roles", "presence"),
        ("store", "cassandra"),
        ("broker", "rabbitmq"),
        ("public_url", "http://127.0.0.1:8081"),
    ];
    assert_eq!(with(&shared).unwrap(), "presence");
    for (roles, shown) in
        [("chat,gardening", "\"chat,gardening\""), ("", "\"\""), ("none", "\"none\"")]
    {
        let error = says(&[("roles", roles)]);
        assert!(error.contains(shown), "{error}");
        assert!(error.contains("all, or some of chat, messaging, presence, discovery"), "{error}");
    }
}

#[test]
fn a_secret_that_somebody_set_is_not_shown() {
    let config = Config::load(flags(&[("amqp_url", "amqp://me:hunter2@mq/%2f")]), []).unwrap();
    let shown = |key| config.effective.iter().find(|e| e.setting.key == key).unwrap().shown.clone();
    assert_eq!(shown("amqp_url"), "***");
    assert_eq!(shown("admin_token"), "none");
    assert!(!format!("{:?}", config.settings).contains("hunter2"));
}
