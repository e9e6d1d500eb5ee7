//! The table of signatures, sorted by name.

use super::{Function, Variadic};
use crate::ast::ValueType;

use ValueType::{Matrix, Scalar, String, Vector};

const fn stable(
    name: &'static str,
    args: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        returns,
        experimental: false,
    }
}

const fn experimental(
    name: &'static str,
    args: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
) -> Function {
    Function {
        name,
        args,
        variadic,
        returns,
        experimental: true,
    }
}

/// All functions.
#[rustfmt::skip]
pub(crate) static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Variadic::No, Vector),
    stable("absent", &[Vector], Variadic::No, Vector),
    stable("absent_over_time", &[Matrix], Variadic::No, Vector),
    stable("acos", &[Vector], Variadic::No, Vector),
    stable("acosh", &[Vector], Variadic::No, Vector),
    stable("asin", &[Vector], Variadic::No, Vector),
    stable("asinh", &[Vector], Variadic::No, Vector),
    stable("atan", &[Vector], Variadic::No, Vector),
    stable("atanh", &[Vector], Variadic::No, Vector),
    stable("avg_over_time", &[Matrix], Variadic::No, Vector),
    stable("ceil", &[Vector], Variadic::No, Vector),
    stable("changes", &[Matrix], Variadic::No, Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Variadic::No, Vector),
    stable("clamp_max", &[Vector, Scalar], Variadic::No, Vector),
    stable("clamp_min", &[Vector, Scalar], Variadic::No, Vector),
    stable("cos", &[Vector], Variadic::No, Vector),
    stable("cosh", &[Vector], Variadic::No, Vector),
    stable("count_over_time", &[Matrix], Variadic::No, Vector),
    stable("day_of_month", &[Vector], Variadic::AtMost(1), Vector),
    stable("day_of_week", &[Vector], Variadic::AtMost(1), Vector),
    stable("day_of_year", &[Vector], Variadic::AtMost(1), Vector),
    stable("days_in_month", &[Vector], Variadic::AtMost(1), Vector),
    stable("deg", &[Vector], Variadic::No, Vector),
    stable("delta", &[Matrix], Variadic::No, Vector),
    stable("deriv", &[Matrix], Variadic::No, Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Variadic::No, Vector),
    experimental("end", &[], Variadic::No, Scalar),
    stable("exp", &[Vector], Variadic::No, Vector),
    stable("first_over_time", &[Matrix], Variadic::No, Vector),
    stable("floor", &[Vector], Variadic::No, Vector),
    stable("histogram_avg", &[Vector], Variadic::No, Vector),
    stable("histogram_count", &[Vector], Variadic::No, Vector),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], Variadic::No, Vector),
    stable("histogram_quantile", &[Scalar, Vector], Variadic::No, Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], Variadic::AtMost(9), Vector),
    stable("histogram_stddev", &[Vector], Variadic::No, Vector),
    stable("histogram_stdvar", &[Vector], Variadic::No, Vector),
    stable("histogram_sum", &[Vector], Variadic::No, Vector),
    stable("hour", &[Vector], Variadic::AtMost(1), Vector),
    stable("idelta", &[Matrix], Variadic::No, Vector),
    stable("increase", &[Matrix], Variadic::No, Vector),
    experimental("info", &[Vector, Vector], Variadic::AtMost(1), Vector),
    stable("irate", &[Matrix], Variadic::No, Vector),
    stable("label_join", &[Vector, String, String, String], Variadic::Any, Vector),
    stable("label_replace", &[Vector, String, String, String, String], Variadic::No, Vector),
    stable("last_over_time", &[Matrix], Variadic::No, Vector),
    stable("ln", &[Vector], Variadic::No, Vector),
    stable("log10", &[Vector], Variadic::No, Vector),
    stable("log2", &[Vector], Variadic::No, Vector),
    experimental("mad_over_time", &[Matrix], Variadic::No, Vector),
    experimental("max_of", &[Scalar, Scalar], Variadic::No, Scalar),
    stable("max_over_time", &[Matrix], Variadic::No, Vector),
    experimental("min_of", &[Scalar, Scalar], Variadic::No, Scalar),
    stable("min_over_time", &[Matrix], Variadic::No, Vector),
    stable("minute", &[Vector], Variadic::AtMost(1), Vector),
    stable("month", &[Vector], Variadic::AtMost(1), Vector),
    stable("pi", &[], Variadic::No, Scalar),
    stable("predict_linear", &[Matrix, Scalar], Variadic::No, Vector),
    stable("present_over_time", &[Matrix], Variadic::No, Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Variadic::No, Vector),
    stable("rad", &[Vector], Variadic::No, Vector),
    experimental("range", &[], Variadic::No, Scalar),
    stable("rate", &[Matrix], Variadic::No, Vector),
    stable("resets", &[Matrix], Variadic::No, Vector),
    stable("round", &[Vector, Scalar], Variadic::AtMost(1), Vector),
    stable("scalar", &[Vector], Variadic::No, Scalar),
    stable("sgn", &[Vector], Variadic::No, Vector),
    stable("sin", &[Vector], Variadic::No, Vector),
    stable("sinh", &[Vector], Variadic::No, Vector),
    stable("sort", &[Vector], Variadic::No, Vector),
    experimental("sort_by_label", &[Vector, String], Variadic::Any, Vector),
    experimental("sort_by_label_desc", &[Vector, String], Variadic::Any, Vector),
    stable("sort_desc", &[Vector], Variadic::No, Vector),
    stable("sqrt", &[Vector], Variadic::No, Vector),
    experimental("start", &[], Variadic::No, Scalar),
    experimental("start_timestamp", &[Vector], Variadic::No, Vector),
    stable("stddev_over_time", &[Matrix], Variadic::No, Vector),
    stable("stdvar_over_time", &[Matrix], Variadic::No, Vector),
    experimental("step", &[], Variadic::No, Scalar),
    stable("sum_over_time", &[Matrix], Variadic::No, Vector),
    stable("tan", &[Vector], Variadic::No, Vector),
    stable("tanh", &[Vector], Variadic::No, Vector),
    stable("time", &[], Variadic::No, Scalar),
    stable("timestamp", &[Vector], Variadic::No, Vector),
    experimental("ts_of_first_over_time", &[Matrix], Variadic::No, Vector),
    experimental("ts_of_last_over_time", &[Matrix], Variadic::No, Vector),
    experimental("ts_of_max_over_time", &[Matrix], Variadic::No, Vector),
    experimental("ts_of_min_over_time", &[Matrix], Variadic::No, Vector),
    stable("vector", &[Scalar], Variadic::No, Vector),
    stable("year", &[Vector], Variadic::AtMost(1), Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert_eq!(FUNCTIONS.len(), 90);
        let experimental = FUNCTIONS.iter().filter(|f| f.experimental).count();
        assert_eq!(experimental, 17);
    }
}
