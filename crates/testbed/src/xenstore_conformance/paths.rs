//! Which paths the daemon takes, where they lead, and what it says of domains.

use xenstore::wire::Kind;
use xenstore::{DomainId, Refusal, Removal, StorePath};

use super::{Bench, Outcome, cases, raw, refused, refused_somehow, same, some};

cases![
    a_relative_path_starts_at_the_own_directory,
    relative_paths_serve_every_operation,
    malformed_paths_are_refused,
    a_payload_without_its_nul_is_refused,
    a_payload_with_an_extra_string_is_refused,
    special_names_are_no_nodes,
    every_allowed_character_works,
    a_relative_path_of_2000_bytes_works,
    a_path_beyond_3072_bytes_is_refused,
    names_are_told_apart_by_case,
    the_own_domain_id_is_known,
    a_domains_directory_is_named_without_being_there,
    the_own_domain_is_introduced_and_others_are_not,
];

fn a_relative_path_starts_at_the_own_directory(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.relative.join("key")?, b"value")?;
    same("value by the absolute path", client.read(&bench.at("key")?)?, some(b"value"))
}

fn relative_paths_serve_every_operation(bench: &Bench<'_>) -> Outcome {
    let (mut client, directory) = (bench.client(), bench.relative.join("directory")?);
    client.make_directory(&directory)?;
    client.write(&bench.at("directory/key")?, b"v")?;
    same("children", client.list(&directory)?, Some(vec!["key".to_owned()]))?;
    same("permissions", client.permissions(&directory)?, client.permissions(&bench.at("directory")?)?)?;
    same("removal", client.remove(&directory.join("key")?)?, Removal::Removed)?;
    same("value", client.read(&bench.at("directory/key")?)?, None)
}

fn malformed_paths_are_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for path in ["", "//", "/a//b", "/a/", "a/", "/a b", "/a.b", "/a/../b", "/a:b", "/a\x7f", "/caf\u{e9}"] {
        for kind in [Kind::Read, Kind::Directory, Kind::Remove, Kind::GetPermissions] {
            refused(&format!("{kind:?} of {path:?}"), raw(&mut client, kind, format!("{path}\0").as_bytes()), &Refusal::Einval)?;
        }
        let write = format!("{path}\0value");
        refused(&format!("write of {path:?}"), raw(&mut client, Kind::Write, write.as_bytes()), &Refusal::Einval)?;
    }
    refused("not even UTF-8", raw(&mut client, Kind::Read, b"/a\xff\0"), &Refusal::Einval)
}

fn a_payload_without_its_nul_is_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for kind in [Kind::Read, Kind::Write, Kind::Directory, Kind::Remove, Kind::GetPermissions] {
        refused_somehow(&format!("{kind:?}"), raw(&mut client, kind, b"/tool"))?;
        refused_somehow(&format!("empty {kind:?}"), raw(&mut client, kind, b""))?;
    }
    Ok(())
}

fn a_payload_with_an_extra_string_is_refused(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    for kind in [Kind::Read, Kind::Directory, Kind::Remove, Kind::GetPermissions] {
        refused_somehow(&format!("{kind:?}"), raw(&mut client, kind, b"/tool\0more\0"))?;
    }
    Ok(())
}

fn special_names_are_no_nodes(bench: &Bench<'_>) -> Outcome {
    let (mut client, special) = (bench.client(), StorePath::parse("@releaseDomain")?);
    refused("read", client.read(&special), &Refusal::Einval)?;
    refused("write", client.write(&special, b"x"), &Refusal::Einval)?;
    refused("list", client.list(&special), &Refusal::Einval)
}

fn every_allowed_character_works(bench: &Bench<'_>) -> Outcome {
    let (mut client, directory) = (bench.client(), bench.at("characters")?);
    let name = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_@";
    client.write(&directory.join(name)?, b"v")?;
    same("value", client.read(&directory.join(name)?)?, some(b"v"))?;
    same("children", client.list(&directory)?, Some(vec![name.to_owned()]))
}

fn a_relative_path_of_2000_bytes_works(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let path = bench.relative.join(&"n".repeat(2000 - bench.relative.as_str().len() - 1))?;
    client.write(&path, b"v")?;
    same("value", client.read(&path)?, some(b"v"))
}

/// 4.17 says EINVAL, 4.20 looks for it and says ENOENT.
fn a_path_beyond_3072_bytes_is_refused(bench: &Bench<'_>) -> Outcome {
    let path = format!("/{}\0", "n".repeat(3072));
    refused_somehow("read", raw(&mut bench.client(), Kind::Read, path.as_bytes()))
}

fn names_are_told_apart_by_case(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    client.write(&bench.at("Name")?, b"upper")?;
    same("value", client.read(&bench.at("name")?)?, None)
}

fn the_own_domain_id_is_known(bench: &Bench<'_>) -> Outcome {
    same("known", bench.client().own_domain_id()?.is_some(), true)
}

fn a_domains_directory_is_named_without_being_there(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let path = client.domain_path(DomainId(31_999))?;
    same("path", path.as_str(), "/local/domain/31999")?;
    same("value", client.read(&path)?, None)
}

fn the_own_domain_is_introduced_and_others_are_not(bench: &Bench<'_>) -> Outcome {
    let mut client = bench.client();
    let own = client.own_domain_id()?.unwrap_or(DomainId(0));
    same("own", client.is_introduced(own)?, true)?;
    same("another", client.is_introduced(DomainId(31_999))?, false)
}
