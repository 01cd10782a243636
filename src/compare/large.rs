//! Large rows ([`budget::LARGE`](crate::model::budget::LARGE)): a page has only their keys, and their values are
//! compared apart, a few megabytes at a time. A row that is larger than that is alone in memory, once for each
//! side.

use uuid::Uuid;

use super::ComparedSides;
use super::comparison::Comparison;
use super::merge::{Expectation, HeldRow};
use super::pages::{KeyRange, LandingPages, PAGE, TrafficPages, held_row, held_weights, landing_row};
use crate::error::Result;
use crate::landing::reading;
use crate::model::budget::TOGETHER;
use crate::model::side::Side;
use crate::postgres::Databases;
use crate::postgres::copied::copied;

impl<E: Expectation> ComparedSides<'_, E> {
    /// Compares the large rows that [`ComparedSides::scan`] has passed over.
    pub(super) async fn compare_large(&self, found: &mut Comparison) -> Result<()> {
        let mut large = std::mem::take(&mut found.large);
        large.sort_unstable();
        for ids in self.portions(&large).await? {
            let (ours, theirs) = tokio::try_join!(self.landing_rows(&ids), self.traffic_rows(&ids))?;
            found.count_all(&self.expectation, &ours, &theirs);
            if let Some(pace) = self.pace {
                ours.iter().for_each(|_| _ = pace.count());
                pace.keep().await;
            }
        }
        Ok(())
    }

    /// Divides the keys into portions small enough that both sides' rows of a portion fit into memory.
    pub(super) async fn portions(&self, ids: &[Uuid]) -> Result<Vec<Vec<Uuid>>> {
        let mut portions = Vec::new();
        for page in ids.chunks(PAGE) {
            let Databases { landing, names, .. } = self.databases;
            let landing = reading::weights(landing, names, &self.layout, page).await?;
            let traffic = self.databases.on(Side::Traffic);
            let traffic = held_weights(traffic, &self.layout.mapping, page).await?;
            let weight = |id: &Uuid| [&landing, &traffic].iter().filter_map(|side| side.get(id)).sum::<u64>();
            portions.extend(TOGETHER.portions(page.iter().map(|id| (*id, weight(id))), PAGE));
        }
        Ok(portions)
    }

    /// Landing's rows with the given keys, whole.
    pub(super) async fn landing_rows(&self, ids: &[Uuid]) -> Result<Vec<E::Landing>> {
        let [id] = ids else {
            return LandingPages::new(self, KeyRange::These(ids.to_vec())).whole().await;
        };
        let query = format!("{} t.id = '{id}'", LandingPages::select(self, false));
        let step = format!("reading a row of {} on Landing", self.layout.name);
        let width = self.layout.mapping.columns().len() + 1;
        let found = copied(self.databases.landing, &query, width, &step).await?;
        let rows = found.into_iter().map(|values| {
            let (row, stored) = landing_row(&self.layout, values.into_vec())?;
            Ok(self.expectation.landing(row, stored))
        });
        rows.collect()
    }

    /// Traffic's rows with the given keys, whole.
    pub(super) async fn traffic_rows(&self, ids: &[Uuid]) -> Result<Vec<HeldRow>> {
        let [id] = ids else {
            return TrafficPages::new(self, KeyRange::These(ids.to_vec())).whole().await;
        };
        let query = format!("{} t.id = '{id}'", TrafficPages::select(self, false));
        let mapping = &*self.layout.mapping;
        let step = format!("reading a row of {} on Traffic", mapping.table.traffic_name());
        let found = copied(self.databases.traffic, &query, mapping.targets().len() + 3, &step).await?;
        found.into_iter().map(|values| held_row(mapping, values.into_vec())).collect()
    }
}
