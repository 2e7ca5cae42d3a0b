//! What was counted: it adds up, ends with its tenant, is forgotten in time, and a file of before it was counted opens.

use std::collections::BTreeMap;

use super::*;
use crate::store::{Counted, Error};
use crate::usage::{Amount, Figures, Hour};

fn figures(messages: u64, ms: u64) -> Figures {
    let mut figures = Figures { messages, answers: 1, output_tokens: 7, ..Figures::default() };
    figures.latency.note(ms);
    figures.pay("EUR".parse().unwrap(), Amount(messages));
    figures
}

fn counted(of: &[(&str, u64, Figures)], memory: Option<(Hour, u64)>) -> Counted {
    let figures = of.iter().map(|(of, hour, figures)| ((tenant(of), Hour(*hour)), figures.clone())).collect();
    Counted { figures, memory }
}

fn kept(store: &Store, of: &str, from: u64) -> BTreeMap<Hour, Figures> {
    store.tenant(tenant(of).as_ref()).usage(Hour(from)).unwrap()
}

#[tokio::test]
async fn what_is_counted_adds_up_by_tenant_and_hour_and_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let (one, other) = (figures(3, 400), figures(5, 2_000_000));
    store
        .count(counted(&[("t", 1, one.clone()), ("t", 2, one.clone()), ("", 1, other.clone())], Some((Hour(1), 5))))
        .await
        .unwrap();
    store.count(counted(&[("t", 1, other.clone())], Some((Hour(1), 4)))).await.unwrap();
    let mut both = one.clone();
    both.add(&other);
    let mut store = Some(store);
    for _ in 0..2 {
        let store = store.take().unwrap_or_else(|| open(&home));
        assert_eq!(kept(&store, "t", 0), [(Hour(1), both.clone()), (Hour(2), one.clone())].into());
        assert_eq!(kept(&store, "t", 2), [(Hour(2), one.clone())].into());
        assert_eq!(kept(&store, "", 0), [(Hour(1), other.clone())].into());
        assert_eq!(kept(&store, "nobody", 0), BTreeMap::new());
        assert_eq!(store.tenants_with_usage().unwrap(), [None, tenant("t")]);
        assert_eq!(store.memory(Hour(0)).unwrap(), [(Hour(1), 5)].into(), "the most of an hour");
    }
}

#[tokio::test]
async fn figures_end_with_their_tenant_and_others_stay() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let all = [("t", 1, figures(1, 1)), ("u", 1, figures(2, 2)), ("", 1, figures(3, 3))];
    store.count(counted(&all, None)).await.unwrap();
    store.erase_tenant(tenant("t").as_ref(), || ()).await.unwrap();
    assert_eq!((kept(&store, "t", 0).len(), kept(&store, "u", 0).len(), kept(&store, "", 0).len()), (0, 1, 1));
    assert_eq!(store.tenants_with_usage().unwrap(), [None, tenant("u")]);
}

#[tokio::test]
async fn what_is_older_than_its_time_is_forgotten_in_steps() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    for of in ["", "t"] {
        let hours: Vec<_> = (0..900).map(|hour| (of, hour, figures(1, 1))).collect();
        store.count(counted(&hours, Some((Hour(3), 1)))).await.unwrap();
    }
    let mut n_steps = 1;
    while store.prune_usage(Hour(895)).await.unwrap() {
        n_steps += 1;
    }
    assert_eq!((n_steps, kept(&store, "", 0).len(), kept(&store, "t", 0).len()), (2, 5, 5));
    assert_eq!(store.memory(Hour(0)).unwrap(), BTreeMap::new());
    assert!(!store.prune_usage(Hour(895)).await.unwrap());
}

#[tokio::test]
async fn a_file_of_before_anything_was_counted_opens_and_is_whole() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    drop(open(&home));
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    for name in ["usage", "memory"] {
        let table = transaction.list_tables().unwrap().find(|table| redb::TableHandle::name(table) == name).unwrap();
        assert!(transaction.delete_table(table).unwrap());
    }
    transaction.commit().unwrap();
    drop(database);
    let found = crate::store::check(&path, CACHE_BYTES, &[7; 32]).unwrap();
    assert_eq!((found.problems, found.n_problems), (Vec::new(), 0));
    for n in 0..2 {
        let store = open(&home);
        assert_eq!(kept(&store, "t", 0).len(), n);
        let mut n_rows = 0;
        store
            .snapshot()
            .unwrap()
            .rows::<Error>(|_| {
                n_rows += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(n_rows > 0, n > 0);
        store.count(counted(&[("t", 1, figures(1, 1))], None)).await.unwrap();
    }
}
