//! `[bird_status]`: where status is told in BIRD's words.

use super::reader::Section;
use super::values;
use crate::config::Family;
use std::path::{Path, PathBuf};

/// Where Calico's tools look for BIRD's sockets.
const CALICO_FOLDER: &str = "/var/run/calico";

/// The section. One socket for each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BirdStatusSection {
    /// IPv4 sessions and routes.
    pub(crate) ipv4: SocketChoice,
    /// IPv6 sessions and routes.
    pub(crate) ipv6: SocketChoice,
}

/// Where a socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SocketChoice {
    /// With Calico's data model, where its tools look, if that folder is there.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// Here.
    Path(PathBuf),
}

impl SocketChoice {
    /// The path, if there is to be a socket.
    pub(crate) fn path(&self, family: Family, is_calico: bool) -> Option<PathBuf> {
        let name = match family {
            Family::Ipv4Unicast => "bird.ctl",
            Family::Ipv6Unicast => "bird6.ctl",
        };
        match self {
            SocketChoice::Off => None,
            SocketChoice::Path(path) => Some(path.clone()),
            SocketChoice::Default => {
                let folder = Path::new(CALICO_FOLDER);
                (is_calico && folder.is_dir()).then(|| folder.join(name))
            }
        }
    }

    /// Did nobody say where?
    pub(crate) fn is_default(&self) -> bool {
        *self == SocketChoice::Default
    }

    /// As in the file.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            SocketChoice::Default => None,
            SocketChoice::Off => Some("off".to_owned()),
            SocketChoice::Path(path) => Some(path.display().to_string()),
        }
    }
}

/// Relative paths start in `directory`.
pub(super) fn read(section: Option<Section<'_>>, directory: &Path) -> BirdStatusSection {
    let Some(mut section) = section else { return BirdStatusSection::default() };
    let mut choice = |key| match section.read(key, values::text).as_deref() {
        None => SocketChoice::Default,
        Some("off") => SocketChoice::Off,
        Some(path) => SocketChoice::Path(directory.join(path)),
    };
    let read = BirdStatusSection { ipv4: choice("ipv4"), ipv6: choice("ipv6") };
    section.finish();
    read
}
