"""What a test's numbers say, pure: from sums to intervals, probabilities and warnings.

``samples`` turns counted sums into means with variances, ``cuped`` lowers their variance by what was known before;
``bayes`` and ``frequentist`` compare two of them; ``ratio``, ``trend`` and ``multiple`` say whether the comparison
can be trusted; ``report`` puts it together. Only numpy and scipy.special are imported at the top: scipy.stats costs
half a second.
"""
