//! Tags: facts that we concluded, by rule, by orders, or by hand.

mod compute;
mod members;
mod values;

use actors::registry::{ResourceKind, Word};
use cdp::tag::{Calculation, TagDefinition, TagPlan};
use pipelines::dictionary::{TAG, references};

use crate::error::{ApiError, ErrorDetail};
use crate::http::{Permission, Routes};
use crate::names;
use crate::resource::{
    Checked, ColumnSpec, ColumnType, Context, Draft, Paths, Resource, routes as resource_routes,
};

/// The routes of this topic.
pub fn routes() -> Routes {
    resource_routes::<Tag>()
        .and(members::routes())
        .and(values::routes())
        .and(compute::routes())
}

/// Tags.
pub enum Tag {}

impl Resource for Tag {
    type Body = TagDefinition;

    const KIND: ResourceKind = TAG;
    const PATHS: Paths = crate::paths!("/api/v1/tags");
    const TAG: &'static str = "Tags";
    const READ: Permission = Permission::TagsRead;
    const WRITE: Permission = Permission::TagsWrite;
    const COLUMNS: &'static [ColumnSpec] = &[
        ColumnSpec {
            name: "value_type",
            of: ColumnType::Text,
        },
        ColumnSpec {
            name: "calculation",
            of: ColumnType::Text,
        },
        ColumnSpec {
            name: "update",
            of: ColumnType::Text,
        },
    ];
    const BUILT: bool = true;

    /// What is given by hand is at work at once.
    fn is_built(body: &TagDefinition) -> bool {
        !body.calculation.by_hand()
    }

    async fn check(
        context: &Context<'_>,
        mut draft: Draft<'_, TagDefinition>,
    ) -> Result<Checked<TagDefinition>, ApiError> {
        let errors = draft.body.check();
        if !errors.is_empty() {
            let details = errors
                .into_iter()
                .map(|error| ErrorDetail::new(error.code, error.place, error.message));
            return Err(ApiError::several("tag_invalid", details.collect()));
        }
        let names = context.names(draft.common.brand).await?;
        let mut uses = Vec::new();
        let mut wrong = Vec::new();
        // What rules are made of cuts is not rewritten, but may name what is not there.
        for (at, case) in draft.body.cases().into_iter().enumerate() {
            let field = format!("calculation.cases[{at}].rule");
            match names::check(&names, &field, &case.rule, None) {
                Ok(rule) => {
                    let owned = names::owned(&field, draft.common.brand, &rule.plan);
                    wrong.extend(owned.err().into_iter().flat_map(ApiError::into_details));
                    uses.extend(rule.uses);
                    if let Calculation::Rule { cases, .. } = &mut draft.body.calculation
                        && let Some(case) = cases.get_mut(at)
                    {
                        case.rule = rule.json;
                    }
                }
                Err(error) => wrong.extend(error.into_details()),
            }
        }
        let quantiles = matches!(&draft.body.calculation,
            Calculation::Rfm { rfm } if rfm.quantiles.is_some());
        if quantiles || matches!(draft.body.calculation, Calculation::Formula { .. }) {
            match TagPlan::new(&draft.body, &*names, context.shared.platform().zone()) {
                Ok(plan) => {
                    let owned = names::owned("calculation", draft.common.brand, &plan.plan);
                    wrong.extend(owned.err().into_iter().flat_map(ApiError::into_details));
                    uses.extend(references(&plan.plan));
                }
                Err(errors) => {
                    wrong.extend(names::refused("calculation", errors).into_details());
                }
            }
        }
        if !wrong.is_empty() {
            return Err(ApiError::several("rule_invalid", wrong));
        }
        let word = |text: &str| Word::Text(text.to_owned());
        Ok(Checked {
            fields: vec![
                ("value_type", word(draft.body.value_type.word())),
                ("calculation", word(draft.body.calculation.word())),
                ("update", word(draft.body.update.word())),
            ],
            search: draft.body.values.clone(),
            uses,
            body: draft.body,
        })
    }
}
