/* Distribution functions. Regularised incomplete gamma and beta by series and Lentz's continued fractions
 * (Abramowitz & Stegun 6.5.29, 6.5.31, 26.5.8); quantiles by Newton steps on them. Relative error about
 * 1e-13 over the range statistics need. */
#include "stats/stats_internal.h"

#define TINY 1e-300
#define MOST_TERMS 100000

double lob_normal_cdf(double x) {
    return 0.5 * erfc(-x * M_SQRT1_2);
}

/* Start: Abramowitz & Stegun 26.2.23 (4e-4), then Halley, in the lower tail where erfc keeps its digits. */
double lob_normal_quantile(double p) {
    if (!(p > 0 && p < 1))
        return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    if (p > 0.5)
        return -lob_normal_quantile(1 - p);
    double t = sqrt(-2 * log(p));
    double x =
        (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for (int i = 0; i < 4; i++) {
        double step = (lob_normal_cdf(x) - p) * sqrt(2 * G_PI) * exp(0.5 * x * x);
        x -= step / (1 + 0.5 * x * step);
    }
    return x;
}

/* exp(-x) x^a / Gamma(a) */
static double gamma_front(double a, double x) {
    return exp(a * log(x) - x - lgamma(a));
}

static double gamma_upper(double a, double x) {
    if (x <= 0)
        return 1;
    if (!isfinite(x))
        return 0;
    if (x < a + 1) {
        double term = 1 / a, sum = term;
        for (int k = 1; k < MOST_TERMS && term > sum * 1e-17; k++) {
            term *= x / (a + k);
            sum += term;
        }
        return 1 - gamma_front(a, x) * sum;
    }
    double b = x + 1 - a, c = 1 / TINY, d = 1 / b, h = d;
    for (int k = 1; k < MOST_TERMS; k++) {
        double an = -k * (k - a);
        b += 2;
        d = 1 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-16)
            break;
    }
    return gamma_front(a, x) * h;
}

double lob_chi2_upper(double x, double df) {
    if (isnan(x) || !(df > 0))
        return NAN;
    return df == 1 ? erfc(sqrt(fmax(x, 0) / 2)) : gamma_upper(df / 2, x / 2);
}

static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < TINY ? TINY : d);
    double h = d;
    for (int m = 1; m < MOST_TERMS; m++) {
        double even = m * (b - m) * x / ((a - 1 + 2 * m) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1 + 2 * m));
        d = 1 / (1 + even * d);
        c = 1 + even / c;
        h *= d * c;
        d = 1 / (1 + odd * d);
        c = 1 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-16)
            break;
    }
    return h;
}

/* I_x(a, b); y = 1 - x is given too, so that neither tail loses its digits. */
static double beta_regularised(double a, double b, double x, double y) {
    if (x <= 0)
        return 0;
    if (y <= 0)
        return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double lob_f_upper(double x, double df1, double df2) {
    if (isnan(x) || !(df1 > 0) || !(df2 > 0))
        return NAN;
    if (x <= 0)
        return 1;
    double whole = df2 + df1 * x;
    return beta_regularised(df2 / 2, df1 / 2, df2 / whole, df1 * x / whole);
}

double lob_t_cdf(double x, double df) {
    if (isnan(x) || !(df > 0))
        return NAN;
    if (!isfinite(df))
        return lob_normal_cdf(x);
    double whole = df + x * x;
    double tail = isfinite(whole) ? 0.5 * beta_regularised(df / 2, 0.5, df / whole, x * x / whole) : 0;
    return x > 0 ? 1 - tail : tail;
}

static double t_density(double x, double df) {
    return exp(lgamma((df + 1) / 2) - lgamma(df / 2) - 0.5 * log(df * G_PI) -
               0.5 * (df + 1) * log1p(x * x / df));
}

/* Lower tail: the cdf is convex there, so Newton from the bisected start cannot leave the bracket for long.
 */
double lob_t_quantile(double p, double df) {
    if (p == 0.5 && df > 0)
        return 0;
    if (!(p > 0 && p < 1) || !(df > 0))
        return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    if (!isfinite(df))
        return lob_normal_quantile(p);
    if (p > 0.5)
        return -lob_t_quantile(1 - p, df);
    double low = -1, high = 0;
    while (lob_t_cdf(low, df) > p)
        low *= 2;
    double x = 0.5 * (low + high);
    for (int i = 0; i < 200 && high - low > 1e-15 * fabs(low); i++) {
        double excess = lob_t_cdf(x, df) - p;
        if (excess > 0)
            high = x;
        else
            low = x;
        double next = x - excess / t_density(x, df);
        if (!(next > low && next < high))
            next = 0.5 * (low + high);
        if (fabs(next - x) <= 1e-16 * fabs(x))
            return next;
        x = next;
    }
    return x;
}

double lob_quantile(const double *x, size_t n, double p) {
    if (n == 0 || !(p >= 0 && p <= 1))
        return NAN;
    g_autofree uint32_t *order = lob_order_of(x, n);
    double at = p * (double)(n - 1);
    size_t below = MIN((size_t)at, n - 1), above = MIN(below + 1, n - 1);
    return x[order[below]] + (at - (double)below) * (x[order[above]] - x[order[below]]);
}
