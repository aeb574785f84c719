//! Secrets in undo records: kept as `${secret:NAME}` on disk, looked up in the environment (or the file `NAME_FILE` names)
//! at the moment of the undo.

use shakedown_core::{Fail, Secrets};

const OPEN: &str = "${secret:";

/// The secrets that `texts` refer to.
///
/// # Errors
/// Names a secret that is not to be had.
pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Secrets, Fail> {
    let mut secrets = Secrets::default();
    for text in texts {
        for rest in text.split(OPEN).skip(1) {
            let name = rest.split_once('}').map(|(name, _)| name).filter(|n| !n.is_empty());
            if let Some(name) = name {
                secrets.insert(name, &look_up(name)?);
            }
        }
    }
    Ok(secrets)
}

fn look_up(name: &str) -> Result<String, Fail> {
    if let Ok(value) = std::env::var(name) {
        return Ok(value);
    }
    let missing = || Fail::new(format!("the secret {name} is needed to undo this; set {name} or {name}_FILE in the environment"));
    let file = std::env::var_os(format!("{name}_FILE")).ok_or_else(missing)?;
    let text = std::fs::read_to_string(file).map_err(|e| Fail::new(format!("cannot read the secret {name} from its file: {e}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
