//! Person and machine of a command, for records beyond the command's life.

/// Account name on this machine; under sudo, the account of sudo's caller.
pub fn name() -> String {
    let account = || nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten();
    let account = std::env::var("SUDO_USER").ok().or_else(|| account().map(|user| user.name));
    account.unwrap_or_else(|| nix::unistd::Uid::current().to_string())
}

pub fn machine() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "this machine".to_owned(), |name| name.to_string_lossy().into_owned())
}
