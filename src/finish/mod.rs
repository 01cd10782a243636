//! The end of a move: a backup of Landing's tables, then the slots, publications and fence functions are
//! dropped, and the rights of leadbridge's roles are taken away.
//!
//! Everything is examined before anything is changed. A run may end after any step: `leadbridge.finish` on
//! Traffic records the progress, and the catalogs show which objects are left. Two things stay: Landing's
//! tables, because only their owner may drop the tables, and the fence around the tables, because leads would
//! be lost if Landing took leads again.

mod behind;
mod certificate;
mod journal;
mod objects;
mod persons;
mod place;
mod rights;
mod standing;

use std::path::PathBuf;
use std::time::Duration;

pub use certificate::FinishCertificate;
pub use objects::OwnedObject;

use crate::admission::{Bars, admit_both};
use crate::checkpoint::own_schema::{self, Extent};
use crate::checkpoint::{ReplicatedSettings, lease};
use crate::config::Config;
use crate::disk;
use crate::error::{Error, Result};
use crate::failpoint::{Point, reach};
use crate::files::{self, Format, Manifest};
use crate::language::{Message, message};
use crate::model::side::Side;
use crate::operator;
use crate::postgres::step::during;
use crate::postgres::{Database, Databases, Session};
use crate::quarantine::{Copies, HeldCopies};
use behind::Behind;
use certificate::{Backup, ReverseState};
use journal::{Dismantling, FinishJournal, FinishRecord};
use objects::ObjectKind;
use place::BackupPlace;
use standing::SettledCutover;

/// The operator's choices.
#[derive(Clone, Debug)]
pub struct FinishOptions {
    /// Directory of the backup; `None` for a new directory below the state directory.
    pub backup: Option<PathBuf>,
    pub format: Format,
    /// Maximum age of a change on Traffic that the backup may lack.
    pub max_behind: Duration,
    /// Whether the conversion notes stay on Traffic.
    pub keep_notes: bool,
}

/// Result of [`examine`].
pub enum Examined {
    /// Nothing is left to do, except for the objects that are left to their owners.
    Finished(Box<FinishCertificate>, Vec<OwnedObject>),
    Ready(Box<Finishing>),
}

/// A finish that may begin or continue: all checks have passed, and no daemon can start while this value
/// lives.
pub struct Finishing {
    config: Config,
    options: FinishOptions,
    landing: Session,
    /// The session that holds the lease.
    traffic: Session,
    standing: SettledCutover,
    journal: FinishJournal,
    record: Option<FinishRecord>,
    left_behind: Option<u64>,
    place: BackupPlace,
    objects: Vec<OwnedObject>,
    copies: HeldCopies,
}

/// Checks everything and changes nothing.
///
/// # Errors
/// Refused when there was no cutover, when a cutover or a rollback is undecided, when rows are quarantined,
/// while Landing is behind, and while a daemon runs.
pub async fn examine(config: &Config, options: FinishOptions) -> Result<Examined> {
    let names = &config.names;
    let traffic = config.traffic.connect("finish").await?;
    own_schema::enter(Database::traffic(&traffic, names), &config.landing, Extent::Present).await?;
    // Without a cutover the daemon must not be stopped, so this check comes before the demand to stop the
    // daemon.
    SettledCutover::read(Database::traffic(&traffic, names)).await?;
    let lease = lease::take_soon(Database::traffic(&traffic, names)).await?;
    if !lease.is_taken() {
        return Err(Error::refused(format!("a daemon applies for this slot: {}", lease.holder()))
            .remedy(message!("finish-remedy-daemon-runs")));
    }
    let standing = SettledCutover::read(Database::traffic(&traffic, names)).await?;
    let landing = config.landing.connect("finish").await?;
    own_schema::enter(Database::landing(&landing, names), &config.landing, Extent::Present).await?;
    standing.check_landing(&landing, config).await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names };
    let journal = FinishJournal::new(names);
    let record = journal.read(&traffic).await?.filter(|record| record.cutover_id == standing.cutover_id);
    let objects = objects::find(databases).await?;
    if let Some(certificate) = record.as_ref().and_then(|record| record.certificate.clone()) {
        return Ok(Examined::Finished(Box::new(certificate), objects));
    }
    // Not before: Landing's tables may be gone once a move is finished.
    let config = config.resolved(&landing).await?;
    ReplicatedSettings::new(&config.names, &config.tables(), &config.columns)
        .refuse_other(Database::traffic(&traffic, &config.names))
        .await?;
    let databases = Databases { landing: &landing, traffic: &traffic, names: &config.names };
    let left_behind = match &record {
        // The earlier run has read the reverse slot, and the slot may be gone.
        Some(record) if record.dismantling.is_some() => record.left_behind,
        _ => {
            admit_both(databases, &config.tables(), Bars::Cutover).await?;
            standing.check_settled(databases, &config.tables()).await?;
            standing::check_published(databases.on(Side::Traffic), &config.tables()).await?;
            let behind = Behind::read(databases.on(Side::Traffic), &standing).await?;
            behind.check(options.max_behind, &config.names)?;
            behind.transactions
        }
    };
    let place = BackupPlace::choose(&options, &config, record.as_ref(), &standing)?;
    let copies = Copies::new(&config.names).count(&traffic).await?;
    let finish = Finishing {
        config,
        options,
        landing,
        traffic,
        standing,
        journal,
        record,
        left_behind,
        place,
        objects,
        copies,
    };
    Ok(Examined::Ready(Box::new(finish)))
}

impl Finishing {
    /// The steps to come, for the operator to agree to.
    pub fn plan(&self) -> Message {
        let names = &self.config.names;
        let landing = self.config.landing.to_string();
        let tables: Vec<&str> = self.config.tables().iter().map(|table| names.landing_name(*table)).collect();
        let directory = self.place.directory.display().to_string();
        let end = message!("finish-plan-end", landing = &landing);
        let continues = self.record.as_ref().map(|_| message!("finish-plan-continues"));
        let backup = match &self.place.there {
            Some(_) => message!("finish-plan-read-back", directory = directory),
            None => message!(
                "finish-plan-written",
                tables = tables.join(", "),
                landing = landing,
                directory = directory
            ),
        };
        let [permitted, left] = [true, false].map(|is_permitted| {
            let objects = self.objects.iter().filter(move |object| object.permitted == is_permitted);
            let groups = objects::summary(objects).into_iter();
            groups.map(move |(kind, objects)| kind.planned(objects, is_permitted))
        });
        let steps = [backup].into_iter().chain(permitted).chain(left).map(|step| step.indented(2));
        let mut lines = vec![Message::joined([Some(end), continues].into_iter().flatten(), " ")];
        lines.extend(steps);
        lines.extend(persons::plan(names, &self.removed(), self.options.keep_notes));
        lines.push(message!("finish-plan-tables-stay"));
        Message::joined(lines, "\n")
    }

    /// The copies of rows that this finish removes.
    fn removed(&self) -> HeldCopies {
        match self.options.keep_notes {
            true => HeldCopies { conversion_notes: 0, ..self.copies },
            false => self.copies,
        }
    }

    /// Carries out the finish. After a kill at any moment the next [`examine`] continues from there.
    ///
    /// # Errors
    /// Any error of a step ends the run. Nothing is dropped before the backup is complete and was read back.
    pub async fn carry_out(mut self) -> Result<FinishCertificate> {
        let manifest = self.back_up().await?;
        let begun = self.record.take().and_then(|record| record.dismantling);
        let objects = begun.map_or_else(|| self.objects.clone(), |begun| begun.objects);
        let dismantling = Dismantling { manifest, objects };
        self.journal.dismantle(&self.traffic, &self.place.directory, &dismantling).await?;
        reach(Point::Dismantling);
        self.dismantle().await?;
        self.certify(dismantling).await
    }

    async fn back_up(&self) -> Result<Manifest> {
        let BackupPlace { directory, there } = &self.place;
        if let Some(manifest) = there {
            manifest.verify(directory)?;
            return Ok(manifest.clone());
        }
        // The directory is claimed first, because a directory with an older backup must not be recorded as
        // the directory of this one.
        let claimed = files::Directory::claim(directory, self.options.format)?;
        // After the point of no return the record stays unchanged until the new backup is complete.
        if self.record.as_ref().is_none_or(|record| record.dismantling.is_none()) {
            self.journal.begin(&self.traffic, &self.standing, self.left_behind, directory).await?;
        }
        reach(Point::FinishBegun);
        let Config { landing, settings, .. } = &self.config;
        let tables = settings.tables();
        let manifest = files::export(landing, &settings.names, &tables, claimed).await?;
        reach(Point::BackedUp);
        Ok(manifest)
    }

    async fn dismantle(&self) -> Result<()> {
        for (kind, side, passed) in [
            (ObjectKind::Slot, Some(Side::Traffic), Point::ReverseSlotDropped),
            (ObjectKind::Slot, Some(Side::Landing), Point::ForwardSlotDropped),
            (ObjectKind::Publication, None, Point::PublicationsDropped),
            // The rights come last, because the steps before need them.
            (ObjectKind::Function, None, Point::FunctionsDropped),
            (ObjectKind::Right, None, Point::Dismantled),
        ] {
            let meant = |object: &&OwnedObject| {
                object.permitted && object.kind == kind && side.is_none_or(|side| object.database == side)
            };
            for object in self.objects.iter().filter(meant) {
                match object.database {
                    Side::Landing => object.drop(&self.landing).await?,
                    Side::Traffic => object.drop(&self.traffic).await?,
                }
            }
            reach(passed);
        }
        Ok(())
    }

    async fn certify(&self, dismantling: Dismantling) -> Result<FinishCertificate> {
        let names = &self.config.names;
        let Dismantling { manifest, objects } = dismantling;
        let databases = Databases { landing: &self.landing, traffic: &self.traffic, names };
        let mut left_for_owner = objects::find(databases).await?;
        // A right with a note stays; its role, without a right in leadbridge's schema any more, is not found again.
        let noted = objects.iter().filter(|object| object.note.is_some());
        let listed: Vec<_> = noted.filter(|object| !object.is_among(&left_for_owner)).cloned().collect();
        left_for_owner.extend(listed);
        let dropped = objects.into_iter().filter(|object| !object.is_among(&left_for_owner)).collect();
        let (traffic, finished_at) = certificate::server(&self.traffic, &self.config.traffic).await?;
        let record = self.journal.read(&self.traffic).await?;
        let record = record.ok_or_else(|| Error::internal("the row of leadbridge.finish has vanished"))?;
        let certificate = FinishCertificate {
            cutover_id: self.standing.cutover_id,
            begun_at: record.begun_at.to_string(),
            finished_at,
            operator: operator::name(),
            leadbridge_version: env!("CARGO_PKG_VERSION").to_owned(),
            traffic,
            reverse: ReverseState {
                slot: names.reverse_slot(),
                applied_lsn: record.reverse_applied,
                left_behind: record.left_behind,
            },
            backup: Backup {
                machine: operator::machine(),
                directory: self.place.directory.clone(),
                manifest,
            },
            dropped,
            left_for_owner,
            copies_removed: self.removed(),
            notes_kept: self.copies.conversion_notes - self.removed().conversion_notes,
            drop_tables: certificate::drop_tables(databases.on(Side::Landing), &self.config.tables()).await?,
        };
        let text =
            serde_json::to_vec_pretty(&certificate).map_err(|error| Error::internal(error.to_string()))?;
        let file = self.place.directory.join(certificate::FILE);
        disk::replace(&file, &text).map_err(|error| files::failed("writing", &file, &error))?;
        reach(Point::Certified);
        // In one transaction, because a run that is killed before tells the copies once more.
        let step = "removing copies of rows on Traffic";
        during(&self.traffic, step).batch("BEGIN").await?;
        Copies::new(names).forget_all(&self.traffic, self.options.keep_notes).await?;
        self.journal.finish(&self.traffic, &certificate).await?;
        during(&self.traffic, step).batch("COMMIT").await?;
        Ok(certificate)
    }
}
